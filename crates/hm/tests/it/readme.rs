//! What the README shows is what is there.

use std::fs;
use std::path::Path;

#[test]
fn its_pipeline_is_the_examples() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = fs::read_to_string(root.join("README.md")).expect("the README");
    let pipeline = fs::read_to_string(root.join("examples/rust/.hm/ci.py")).expect("the pipeline");
    assert!(
        readme.contains(&format!("```python\n{pipeline}```")),
        "the README shows another pipeline"
    );
}
