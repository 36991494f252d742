//! What holds for every page, in both themes and on a phone: text that can be read, no scrolling sideways, a name for
//! everything that can be used, nothing on the console.

use serde_json::Value;

use super::browser::Browser;

/// A desktop and a phone: width and height.
pub const SIZES: [(u32, u32); 2] = [(1280, 900), (360, 740)];

/// What people use, in the words of the browser's accessibility tree.
const USED: [&str; 9] = [
    "button",
    "link",
    "textbox",
    "checkbox",
    "radio",
    "combobox",
    "searchbox",
    "switch",
    "image",
];

/// Looks at the page that is open, and puts the browser back as it was.
#[track_caller]
pub fn audit(browser: &Browser, url: &str) {
    let mut wrong = Vec::new();
    let mut backgrounds = Vec::new();
    for scheme in ["dark", "light"] {
        browser.prefer(scheme);
        for (width, height) in SIZES {
            browser.resize(width, height);
            browser.open(url);
            let found = browser.script(include_str!("audit.js"));
            let found = found.as_object().expect("what is wrong, by kind");
            for (kind, list) in found {
                // A mouse hits what a finger does not.
                let matters = kind != "small" || width < 600;
                let list = list.as_array().expect("a list").iter().filter(|_| matters);
                wrong.extend(list.map(|what| format!("{scheme} {width} {kind}: {what}")));
            }
        }
        backgrounds.push(browser.js("getComputedStyle(document.body).backgroundColor"));
        wrong.extend(
            nameless(browser)
                .into_iter()
                .map(|what| format!("{scheme}: {what}")),
        );
    }
    if backgrounds.first() == backgrounds.last() {
        wrong.push(format!("the same background in both themes: {backgrounds:?}"));
    }
    wrong.extend(browser.complaints());
    let (width, height) = SIZES[0];
    browser.resize(width, height);
    assert!(wrong.is_empty(), "{url}\n{}", wrong.join("\n"));
}

/// What has no name for those who do not see it.
fn nameless(browser: &Browser) -> Vec<String> {
    let tree = browser.accessibility();
    let nodes = tree["nodes"].as_array().expect("nodes").iter();
    let nameless = nodes.filter(|node| {
        let role = node["role"]["value"].as_str().unwrap_or_default();
        let name = node["name"]["value"].as_str().unwrap_or_default();
        node["ignored"] != Value::Bool(true) && USED.contains(&role) && name.trim().is_empty()
    });
    nameless
        .map(|node| format!("a {} without a name", node["role"]["value"]))
        .collect()
}
