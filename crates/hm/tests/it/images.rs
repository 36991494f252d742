//! Images from a registry that runs here, from archives, and `hm image`.

use std::process::{Child, Stdio};

use hm_oci::testing::{BuiltImage, ImageBuilder, Layer, PASSWORD, Registry, Throttle, USER, digest};

use crate::harness::{Said, World};
use crate::user::{as_user, owned};

/// What the steps of these tests run: it tells which image they are in.
const GREET: &str = "cat /etc/greeting";

/// An image with a shell that greets in its own words.
fn greeter(words: &str) -> BuiltImage {
    ImageBuilder::busybox()
        .layer(Layer::new().file("etc/greeting", format!("{words}\n")))
        .build()
}

/// A plan of one step on an image.
fn plan(image: &str, command: &str) -> String {
    let mut plan: serde_json::Value =
        serde_json::from_str(&World::plan(&[("greet", command, None)])).expect("JSON");
    plan["graph"]["nodes"][0]["step"]["image"] = image.into();
    plan.to_string()
}

/// A repository whose plan greets on an image.
fn world(image: &str) -> World {
    let world = World::new();
    world.write("p.json", &plan(image, GREET));
    world
}

const RUN: &[&str] = &["run", "--plan", "p.json"];

fn run_with(world: &World, more: &[&str]) -> Said {
    world.hm(&[RUN, more].concat())
}

/// The requests for blobs among those that came by since somebody last looked.
fn blobs(way: &Throttle) -> usize {
    let requests = way.take_requests();
    requests.iter().filter(|line| line.contains("/blobs/")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_pulled_once_and_a_moved_tag_is_noticed() {
    let registry = Registry::start();
    let way = Throttle::to(registry.address()).await;
    greeter("first words").push(&registry, "greeter:1").await;
    let image = format!("{}/greeter:1", way.address());
    let world = world(&image);

    let first = run_with(&world, &[]).expect(0);
    assert!(first.stdout().contains("first words"), "{first}");
    assert!(
        first.stderr().contains(&format!("fetching {image}: 2 layers")),
        "{first}"
    );
    assert!(
        first.stdout().contains("greeter:1@"),
        "the header tells the digest: {first}"
    );
    assert!(blobs(&way) > 0, "it came this way");

    let second = run_with(&world, &[]).expect(0);
    assert!(second.stdout().contains("first words"), "{second}");
    assert_eq!(second.stderr(), "");
    assert_eq!(blobs(&way), 0, "nothing was pulled again");

    greeter("other words").push(&registry, "greeter:1").await;
    for never in ["missing", "never"] {
        let old = run_with(&world, &["--pull", never]).expect(0);
        assert!(old.stdout().contains("first words"), "{old}");
        assert_eq!(way.take_requests(), [""; 0], "--pull {never} asks nobody");
    }
    let moved = run_with(&world, &[]).expect(0);
    assert!(moved.stdout().contains("other words"), "{moved}");
    // The layer that both have is not fetched again: a configuration and a layer are.
    assert_eq!(blobs(&way), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_registry_what_is_stored_still_runs() {
    let mut registry = Registry::start();
    let image = greeter("kept words").push(&registry, "greeter:1").await;
    let world = world(&image);
    run_with(&world, &[]).expect(0);
    registry.kill();
    let said = run_with(&world, &[]).expect(0);
    assert!(said.stdout().contains("kept words"), "{said}");
    world.write("p.json", &plan(&image.replace(":1", ":2"), GREET));
    let said = run_with(&world, &[]).expect(2);
    assert!(said.stderr().contains(&image.replace(":1", ":2")), "{said}");
}

/// `hm run`, started.
fn start(world: &World) -> Child {
    let mut command = world.command(RUN);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("hm starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_killed_in_mid_pull_and_comes_back_is_pulled_from_to_the_end() {
    const LARGE: usize = 8 << 20;
    let mut registry = Registry::start();
    let way = Throttle::to(registry.address()).await;
    let noise: Vec<u8> = std::iter::successors(Some(1_u32), |last| {
        Some(last.wrapping_mul(1_664_525).wrapping_add(1_013_904_223))
    })
    .map(|number| number.to_be_bytes()[0])
    .take(LARGE)
    .collect();
    let image = ImageBuilder::busybox()
        .layer(Layer::new().file("large", &noise))
        .build();
    image.push(&registry, "large:1").await;
    let world = World::new();
    let reference = format!("{}/large:1", way.address());
    world.write("p.json", &plan(&reference, "wc -c < /large"));

    way.cut_after(3 << 20);
    let hm = start(&world);
    while !way.is_cut() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    registry.kill();
    registry.restart();
    way.mend();
    let output = tokio::task::spawn_blocking(|| hm.wait_with_output());
    let output = output.await.expect("a task").expect("hm ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}{errors}");
    assert!(text.contains(&LARGE.to_string()), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_is_not_what_its_digest_says_is_refused() {
    let registry = Registry::start();
    let built = greeter("good words");
    let image = built.push(&registry, "greeter:1").await;
    let good = built.layers.last().expect("a layer");
    let layer = digest(good);
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 0x55;
    std::fs::write(registry.blob(&layer), bad).expect("a blob");
    let world = world(&image);
    let said = run_with(&world, &[]).expect(2);
    assert!(said.stderr().contains(&layer), "{said}");
    assert!(said.stderr().contains(&image), "{said}");
    std::fs::write(registry.blob(&layer), good).expect("a blob");
    let said = run_with(&world, &[]).expect(0);
    assert!(said.stdout().contains("good words"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_machines_image_is_refused_unless_asked_for() {
    let registry = Registry::start();
    let theirs = if cfg!(target_arch = "aarch64") {
        "amd64"
    } else {
        "arm64"
    };
    let built = ImageBuilder::busybox().platform("linux", theirs).build();
    let image = built.push(&registry, "foreign:1").await;
    let world = world(&image);
    let said = run_with(&world, &[]).expect(2);
    assert!(said.stderr().contains(&format!("linux/{theirs}")), "{said}");
    assert!(said.stderr().contains("--platform"), "{said}");
    let platform = format!("linux/{theirs}");
    world
        .hm(&["image", "pull", "--platform", &platform, &image])
        .expect(0);
    let listed = world.hm(&["image", "ls"]).expect(0).stdout();
    assert!(listed.contains(&platform), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_with_a_login_takes_dockers_and_a_helpers() {
    let registry = Registry::start_with_login();
    let image = greeter("secret words").push(&registry, "greeter:1").await;
    let nobody = world(&image);
    let said = run_with(&nobody, &[]).expect(2);
    assert!(said.stderr().contains("docker login"), "{said}");

    let host = registry.address().to_string();
    let login = base64_of(&format!("{USER}:{PASSWORD}"));
    let files = [
        format!(r#"{{"auths": {{"{host}": {{"auth": "{login}"}}}}}}"#),
        format!(r#"{{"credHelpers": {{"{host}": "test"}}}}"#),
        r#"{"credsStore": "test"}"#.to_owned(),
    ];
    for file in files {
        let world = world(&image);
        world.write("../home/.docker/config.json", &file);
        let bin = world.path().join("bin");
        std::fs::create_dir_all(&bin).expect("a directory");
        world.script(
            &bin.join("docker-credential-test"),
            &format!(
                "read -r server\n[ \"$server\" = {host} ] || exit 1\n\
                 echo '{{\"Username\":\"{USER}\",\"Secret\":\"{PASSWORD}\"}}'"
            ),
        );
        let path = format!("{}:/usr/bin:/bin", bin.display());
        let said = world.say(world.command(RUN).env("PATH", path)).expect(0);
        assert!(said.stdout().contains("secret words"), "{file}: {said}");
        assert!(!said.to_string().contains(PASSWORD), "{said}");
        let doctor = world.hm(&["doctor"]).stdout();
        assert!(
            doctor.contains("docker-credential-test") || doctor.contains(&host),
            "{doctor}"
        );
        assert!(!doctor.contains(PASSWORD) && !doctor.contains(&login), "{doctor}");
    }
    let wrong = world(&image);
    wrong.login(&host, &base64_of(&format!("{USER}:wrong")));
    let said = run_with(&wrong, &[]).expect(2);
    assert!(said.stderr().contains(&host), "{said}");
}

fn base64_of(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_is_asked_first_and_plain_http_has_to_be_said() {
    let registry = Registry::start();
    greeter("mirrored words").push(&registry, "team/greeter:1").await;
    let address = registry.address();
    let mirrored = world("registry.invalid/team/greeter:1");
    mirrored.write(
        ".hm/config.toml",
        &format!("[registries.\"registry.invalid\"]\nmirrors = [\"http://{address}\"]\n"),
    );
    let said = run_with(&mirrored, &[]).expect(0);
    assert!(said.stdout().contains("mirrored words"), "{said}");

    let plain = world(&format!("{address}/team/greeter:1"));
    plain.write(
        ".hm/config.toml",
        &format!("[registries.\"{address}\"]\nplain_http = false\n"),
    );
    let said = run_with(&plain, &[]).expect(2);
    assert!(said.stderr().contains("plain_http"), "{said}");
}

#[test]
fn an_image_comes_from_an_oci_layout_and_from_what_docker_save_wrote() {
    let built = greeter("archived words");
    let world = world("team/greeter:1");
    std::fs::write(world.repo().join("saved.tar"), built.docker_archive("saved:1")).expect("a file");
    std::fs::write(world.repo().join("layout.tar"), built.layout_archive("laid:1")).expect("a file");
    built.write_layout(&world.repo().join("layout"), "laid:1");
    for file in ["saved.tar", "layout.tar", "layout"] {
        let said = run_with(&world, &["--image", &format!("team/greeter:1=./{file}")]).expect(0);
        assert!(said.stdout().contains("archived words"), "{file}: {said}");
        let shell = world
            .hm(&["shell", "greet@before", "--", "cat", "/etc/greeting"])
            .expect(0);
        assert_eq!(shell.stdout(), "archived words\n", "{file}");
    }
    run_with(&world, &["--pull", "never"]).expect(2);
    world
        .hm(&["image", "import", "saved.tar", "team/greeter:1"])
        .expect(0);
    let said = run_with(&world, &["--pull", "never"]).expect(0);
    assert!(said.stdout().contains("archived words"), "{said}");
    std::fs::write(world.repo().join("broken.tar"), b"no archive").expect("a file");
    let said = world.hm(&["image", "import", "broken.tar", "broken:1"]).expect(2);
    assert!(
        said.stderr().contains("broken:1") && said.stderr().contains("damaged"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_listed_counted_and_removed() {
    let registry = Registry::start();
    let image = greeter("listed words").push(&registry, "greeter:1").await;
    let world = World::new();
    assert_eq!(world.hm(&["image", "ls"]).expect(0).stdout(), "");
    let pulled = world.hm(&["image", "pull", &image]).expect(0);
    assert!(
        pulled.stdout().starts_with(&format!("{image} sha256:")),
        "{pulled}"
    );
    let listed = world.hm(&["image", "ls"]).expect(0).stdout();
    assert!(
        listed.starts_with("IMAGE ") && listed.contains(&image),
        "{listed}"
    );
    let line: serde_json::Value =
        serde_json::from_str(&world.hm(&["image", "ls", "--json"]).expect(0).stdout()).expect("JSON");
    assert_eq!(
        (line["references"][0].as_str(), line["layers"].as_u64()),
        (Some(&*image), Some(2))
    );
    assert!(image_bytes(&world) > 100_000, "busybox is larger");
    world.hm(&["cache", "prune"]).expect(0);
    assert!(image_bytes(&world) > 100_000, "within the budget");
    world.hm(&["image", "rm", &image]).expect(0);
    assert_eq!(image_bytes(&world), 0);
    world.hm(&["image", "rm", &image]).expect(2);
    world.hm(&["image", "pull", &image]).expect(0);
    world.hm(&["cache", "clean"]).expect(0);
    assert!(image_bytes(&world) > 100_000, "images stay unless asked for");
    let said = world.hm(&["cache", "clean", "--images"]).expect(0);
    assert!(said.stdout().contains("removed images"), "{said}");
    assert_eq!(image_bytes(&world), 0);
}

fn image_bytes(world: &World) -> u64 {
    let usage = world.hm(&["cache", "du", "--json"]).expect(0).stdout();
    let usage: serde_json::Value = serde_json::from_str(&usage).expect("JSON");
    usage["image_bytes"].as_u64().expect("bytes")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_user_pulls_and_runs_too() {
    let registry = Registry::start();
    let image = greeter("a user's words").push(&registry, "greeter:1").await;
    let world = owned("c");
    world.write(
        "p.json",
        &plan(&image, "cat /etc/greeting; id -u; touch /etc/new"),
    );
    let said = world.say(&mut as_user(&world, RUN)).expect(0);
    assert!(said.stdout().contains("a user's words"), "{said}");
    let again = world.say(&mut as_user(&world, RUN)).expect(0);
    assert!(again.stdout().contains("a user's words"), "{again}");
    world
        .say(&mut as_user(&world, &["cache", "clean", "--images"]))
        .expect(0);
    assert_eq!(image_bytes(&world), 0);
}
