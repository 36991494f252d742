//! `hm config`, and how the layers lie over each other.

use std::fs;

use insta::assert_snapshot;

use crate::harness::World;

#[test]
fn each_layer_goes_over_the_one_before() {
    let world = World::new();
    let user = world.path().join("home/.config/hm");
    fs::create_dir_all(&user).expect("a directory");
    let text = "parallelism = 2\nnetwork = \"none\"\n[limits]\nmemory = \"1GiB\"\ncpus = 1.5\n[images]\nalpine = \"/a\"\n";
    fs::write(user.join("config.toml"), text).expect("a file");
    let project = "network = \"outbound\"\n[images]\n\"ubuntu:24.04\" = \"host\"\n[cache]\nbudget = \"5GiB\"\n\
         [registries.\"docker.io\"]\nmirrors = [\"a.org\", \"b.org/hub\"]\npull = \"missing\"\n";
    world.write(".hm/config.toml", project);
    let mut command = world.command(&["config", "show", "--origin", "--data-dir", "there"]);
    command
        .env("HM_PARALLELISM", "3")
        .env("HM_IMAGES", "debian=host,alpine=/b")
        .env("DOCKER_HOST", "tcp://docker.example.org:2375")
        .env("HM_REGISTRIES_PLAIN_HTTP", "localhost:5000")
        .env("HM_REGISTRIES_MIRRORS", "quay.io=one.org,quay.io=two.org");
    assert_snapshot!(squeezed(&world.say(&mut command).to_string()), @r#"
    exit 0
    --- stdout
    backend  (sandbox, or docker where the sandbox cannot be)  default
    parallelism  3  environment variable HM_PARALLELISM
    keep_going  (false)  default
    run.grace  (10s)  default
    format  (human on a terminal, plain otherwise)  default
    logs  (failed on a live terminal, all elsewhere)  default
    data_dir  [TMP]/repo/there  flag --data-dir
    network  outbound  [TMP]/repo/.hm/config.toml
    git  (false)  default
    sandbox.nested  (false)  default
    docker.host  tcp://docker.example.org:2375  environment variable DOCKER_HOST
    host.show  (nothing more)  default
    image.pull  (always)  default
    image.platform  (this machine's)  default
    image.budget  (20GiB)  default
    limits.memory  1GiB  [TMP]/home/.config/hm/config.toml
    limits.cpus  1.5  [TMP]/home/.config/hm/config.toml
    limits.pids  (no limit)  default
    limits.disk  (no limit)  default
    artifacts.max_bytes  (1GiB)  default
    cache.budget  5GiB  [TMP]/repo/.hm/config.toml
    cache.floor  (1GiB)  default
    cache.min_free  (2GiB)  default
    cloud.api_url  (the server of the last `hm cloud login`)  default
    cloud.app_url  (`cloud.api_url`)  default
    cloud.org  (what `hm cloud org use` chose, or the only one)  default
    cloud.pipeline  (found by the repository, or of the pipeline's name)  default
    cloud.max_source  (1GiB)  default
    images."alpine"  /b  environment variable HM_IMAGES
    images."debian"  host  environment variable HM_IMAGES
    images."ubuntu:24.04"  host  [TMP]/repo/.hm/config.toml
    registries."docker.io".mirrors  a.org, b.org/hub  [TMP]/repo/.hm/config.toml
    registries."docker.io".pull  missing  [TMP]/repo/.hm/config.toml
    registries."localhost:5000".plain_http  true  environment variable HM_REGISTRIES_PLAIN_HTTP
    registries."quay.io".mirrors  one.org, two.org  environment variable HM_REGISTRIES_MIRRORS
    --- stderr
    "#);
}

#[test]
fn an_unknown_key_is_a_warning_and_names_the_file() {
    let world = World::new();
    world.write(
        ".hm/config.toml",
        "paralelism = 4\n[limits]\nmemroy = 1\n[nonsense]\nx = 1\n",
    );
    let said = world.hm(&["config", "show"]).expect(0);
    assert_snapshot!(said.stderr().replace(&world.path().display().to_string(), "[TMP]"), @r"
    warning: [TMP]/repo/.hm/config.toml: unknown key `limits.memroy`; did you mean `limits.memory`?
    warning: [TMP]/repo/.hm/config.toml: unknown key `nonsense.x`
    warning: [TMP]/repo/.hm/config.toml: unknown key `paralelism`; did you mean `parallelism`?
    ");
}

#[test]
fn what_is_no_toml_is_refused_with_its_line() {
    let world = World::new();
    world.write(".hm/config.toml", "parallelism = 2\nnetwork = none\n");
    assert_snapshot!(world.hm(&["config", "show"]), @r"
    exit 2
    --- stdout
    --- stderr
    error: [TMP]/repo/.hm/config.toml:2: invalid float, expected `nan`
    ");
}

#[test]
fn a_value_that_makes_no_sense_is_refused_with_who_set_it() {
    let world = World::new();
    world.write(".hm/config.toml", "[limits]\nmemory = \"much\"\n");
    assert_snapshot!(world.hm(&["run"]), @r"
    exit 2
    --- stdout
    --- stderr
    error: `limits.memory = much` ([TMP]/repo/.hm/config.toml): not a size, such as `512MiB` or `20GiB`
    hint: `hm config show --origin` prints every setting and who set it
    ");
    world.write(".hm/config.toml", "");
    let mut command = world.command(&["run"]);
    assert_snapshot!(world.say(command.env("HM_PARALLELISM", "0")), @r"
    exit 2
    --- stdout
    --- stderr
    error: `parallelism = 0` (environment variable HM_PARALLELISM): not a number of steps, at least 1
    hint: `hm config show --origin` prints every setting and who set it
    ");
}

#[test]
fn what_is_wrong_about_a_registry_names_it_and_the_file() {
    let world = World::new();
    let show = |text: &str| {
        world.write(".hm/config.toml", text);
        world.hm(&["config", "show"])
    };
    let said = show("[registries.\"a.org\"]\nplain-http = true\n[registries]\nb = 1\n").expect(0);
    assert!(
        said.stderr()
            .contains("unknown key `plain-http` of the registry `a.org`; did you mean `plain_http`?"),
        "{said}"
    );
    assert!(said.stderr().contains("`registries.b` is no table"), "{said}");
    let said = show("[registries.\"a.org\"]\nplain_http = \"perhaps\"\n").expect(2);
    assert!(
        said.stderr()
            .contains("`registries.\"a.org\".plain_http = perhaps` ("),
        "{said}"
    );
    let said = show("[registries.\"a.org/team\"]\nplain_http = true\n").expect(2);
    assert!(said.stderr().contains("its name is a host"), "{said}");
    let said = show("[image]\nplatform = \"amd64\"\n").expect(2);
    assert!(said.stderr().contains("not a platform"), "{said}");
}

#[test]
fn the_reference_page_is_what_the_program_says() {
    let page = fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/configuration.md"
    ));
    let said = World::new().hm(&["config", "reference"]).expect(0).stdout();
    assert!(
        said == page.expect("the page"),
        "run `hm config reference > docs/configuration.md`"
    );
}

/// Columns depend on how long the temporary directory's name is.
fn squeezed(text: &str) -> String {
    let line = |line: &str| {
        line.split("  ")
            .filter(|cell| !cell.trim().is_empty())
            .map(str::trim)
            .collect::<Vec<_>>()
            .join("  ")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}
