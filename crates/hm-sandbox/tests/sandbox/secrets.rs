//! What a step must not read.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::persons::{everyone, in_opt, is_root};
use super::support::{SECRETS, World, said, write};

everyone![
    a_home_is_hidden_but_for_its_toolchains,
    password_hashes_are_hidden,
    credentials_beside_programs_are_hidden_from_root,
    socket_on_the_path_does_not_answer,
    variables_that_name_files_bring_them,
    settings_of_registries_pass_without_tokens,
    nothing_of_hm_is_seen,
    only_the_users_own_home_exists,
    the_first_process_gives_nothing_away,
    a_command_has_its_three_descriptors_alone,
    directories_around_a_home_on_the_path_are_not_shown,
];

async fn a_home_is_hidden_but_for_its_toolchains(world: &World) {
    for secret in SECRETS {
        let ran = world.fails(&format!("cat ~/{secret}")).await;
        assert!(!said(&ran).contains(&world.marker), "{secret}");
    }
    // By whatever way: the home's real path, another name for it, what lies around it.
    let search = "grep -rs \"$0\" ~ /home /root /tmp /run /var /mnt /srv /media /workspace /dev/shm";
    let mut request = hm_vm::ExecRequest::shell("");
    request.argv = ["sh", "-c", search, world.marker.as_str()].map(Into::into).into();
    let ran = world.run(&request).await;
    assert_ne!(ran.code(), 0, "{}", said(&ran));

    assert_eq!(world.passes("hm-test-tool").await, "tool runs\n");
    let around = world.passes("ls -A ~/.cargo; ls -A ~").await;
    assert_eq!(around, "bin\n.cargo\n");
    for write in [
        "echo x > ~/.cargo/bin/hm-test-tool",
        "echo x >> ~/.cargo/bin/hm-test-tool",
        "touch ~/.cargo/bin/more",
        "rm ~/.cargo/bin/hm-test-tool",
        "mv ~/.cargo/bin/hm-test-tool ~/.cargo/bin/other",
        "chmod 777 ~/.cargo/bin/hm-test-tool",
    ] {
        world.passes(write).await;
    }
    let tool = world.home.join(".cargo/bin/hm-test-tool");
    assert_eq!(
        std::fs::read_to_string(&tool).unwrap(),
        "#!/bin/sh\necho tool runs\n"
    );
    assert_eq!(
        std::fs::metadata(&tool).unwrap().permissions().mode() & 0o777,
        0o755
    );
    assert!(!world.home.join(".cargo/bin/more").exists());
    // A build may keep things in its home all the same.
    world
        .passes("mkdir -p ~/.cargo/registry && echo x > ~/.cargo/registry/x && cat ~/.cargo/registry/x")
        .await;
    assert!(!world.home.join(".cargo/registry").exists());
}

async fn credentials_beside_programs_are_hidden_from_root(world: &World) {
    let bin = world.home.join(".cargo/bin");
    write(&bin.join(".credentials"), &world.marker);
    let closed = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(bin.join(".credentials"), closed).unwrap();
    let ran = world.sh("cat ~/.cargo/bin/.credentials").await;
    // A user's own files are as readable to the user's step as to the user, where PATH shows them.
    assert!(!is_root() || ran.code() != 0, "{}", said(&ran));
    world.passes("hm-test-tool").await;
}

async fn socket_on_the_path_does_not_answer(world: &World) {
    let socket = world.home.join(".cargo/bin/agent.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o777)).unwrap();
    let connect = format!(
        "perl -MIO::Socket::UNIX -e 'print IO::Socket::UNIX->new(Peer => $ARGV[0]) ? 1 : 0' {}",
        socket.display()
    );
    assert_eq!(world.passes(&connect).await, "0");
}

async fn variables_that_name_files_bring_them(world: &World) {
    let file = world.home.join("company.pem");
    write(&file, "certificates\n");
    let text = file.display().to_string();
    let other = World::with(world.directory.path(), |config| {
        let token = format!("https://me:{}@example.org", world.marker);
        config.host_env = [
            ("SSL_CERT_FILE", text.clone()),
            ("PIP_CERT", format!("{text}.gone")),
            ("PIP_INDEX_URL", token),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
    });
    let look = "cat \"$SSL_CERT_FILE\"; echo \"${PIP_CERT-none} ${PIP_INDEX_URL-none}\"";
    assert_eq!(other.passes(look).await, "certificates\nnone none\n");
    other.fails("echo x >> \"$SSL_CERT_FILE\"").await;
}

async fn settings_of_registries_pass_without_tokens(world: &World) {
    let text = format!(
        "registry=https://npm.example.org/\n//npm.example.org/:_authToken={}\n",
        world.marker
    );
    write(&world.home.join(".npmrc"), &text);
    assert_eq!(
        world.passes("cat ~/.npmrc").await,
        "registry=https://npm.example.org/\n"
    );
    let commit =
        "cd /tmp && git init -q x && cd x && git commit -q --allow-empty -m m && git log -1 --format=%ae";
    let author = world.passes(&format!("unset XDG_CONFIG_HOME; {commit}")).await;
    assert!(!author.trim().is_empty());
}

async fn password_hashes_are_hidden(world: &World) {
    let shadow = world.passes("cat /etc/shadow").await;
    let (names, hashes): (Vec<_>, Vec<_>) = shadow
        .lines()
        .map(|line| {
            let mut fields = line.split(':');
            (fields.next().unwrap(), fields.next().unwrap())
        })
        .unzip();
    assert!(names.contains(&"root"), "{shadow}");
    assert!(hashes.iter().all(|hash| *hash == "*"), "{shadow}");
    // Whatever the host lets root alone read in /etc is not there at all.
    let ran = world
        .sh("find /etc -xdev -type f ! -perm -004 ! -name '*shadow*' | xargs -r ls -l")
        .await;
    assert_eq!(ran.out(), "", "{}", said(&ran));
}

async fn nothing_of_hm_is_seen(world: &World) {
    let data = world.data.display();
    world.fails(&format!("ls {data}")).await;
    let directory = world.directory.path().display();
    write(&world.directory.path().join("beside"), &world.marker);
    world
        .fails(&format!("ls {directory}/data {directory}/beside"))
        .await;
    let mode = std::fs::metadata(world.data.join("sandbox"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o077, 0, "others reach what steps wrote: {mode:o}");
}

async fn only_the_users_own_home_exists(world: &World) {
    let homes = world.passes("ls -A /home /root; find /home /root | wc -l").await;
    assert!(homes.ends_with("\n2\n"), "{homes}");
}

async fn the_first_process_gives_nothing_away(world: &World) {
    let read = "cat /proc/1/environ /proc/1/maps /proc/1/fdinfo/* 2>/dev/null; ls -l /proc/1/fd 2>/dev/null; \
                ls /proc/1/root /proc/1/cwd/ 2>/dev/null; env; true";
    let ran = world.sh(read).await;
    assert!(!said(&ran).contains("HM_"), "{}", said(&ran));
    assert!(
        !said(&ran).contains(world.directory.path().join("data").to_str().unwrap()),
        "{}",
        said(&ran)
    );
    world.fails("ls -l /proc/1/fd/").await;
    world.fails("cat /proc/1/mem").await;
}

async fn a_command_has_its_three_descriptors_alone(world: &World) {
    assert_eq!(world.passes("ls /proc/self/fd").await, "0\n1\n2\n3\n");
    let listed = world.passes("ls -l /proc/self/fd").await;
    assert_eq!(listed.matches("pipe:").count(), 2, "{listed}");
    assert_eq!(listed.matches("/dev/null").count(), 1, "{listed}");
}

async fn directories_around_a_home_on_the_path_are_not_shown(world: &World) {
    let home = world.home.display();
    for around in [
        "/".to_owned(),
        "/tmp/".into(),
        format!("{home}"),
        format!("{home}/"),
        format!("{home}/.cargo/.."),
        format!("{home}/.cargo/bin/.."),
        format!("{home}/.."),
        world.directory.path().display().to_string(),
    ] {
        let path = format!("{}:{around}", world.config.path);
        let other = World::with(world.directory.path(), |config| {
            config.path = path;
            config.home = Some(world.home.clone());
        });
        let found = other
            .sh(&format!(
                "cat {home}/.ssh/id_ed25519 {home}/.cargo/credentials.toml"
            ))
            .await;
        assert!(
            !said(&found).contains(&world.marker),
            "with {around} on PATH: {}",
            said(&found)
        );
    }
}

#[test]
fn a_users_home_in_a_directory_that_is_shown_is_hidden() {
    in_opt(
        "secrets::a_users_home_in_a_directory_that_is_shown_is_hidden",
        beside_what_is_shown,
    );
}

#[test]
fn roots_home_in_a_directory_that_is_shown_is_hidden() {
    if is_root() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(beside_what_is_shown(&World::within(Path::new("/opt"))));
    } else {
        hm_vm::testing::skip("this is not root");
    }
}

/// The home, hm's data and a socket lie in /opt, and so does something that a build may want.
async fn beside_what_is_shown(world: &World) {
    let directory = world.directory.path().display();
    write(&world.directory.path().join("sdk/tool"), "a tool");
    let socket = world.directory.path().join("sdk/socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let ran = world
        .sh(&format!("cat {directory}/sdk/tool; hm-test-tool; ls {directory}"))
        .await;
    assert!(ran.out().starts_with("a tooltool runs\n"), "{}", said(&ran));
    assert!(!ran.out().contains("data"), "{}", said(&ran));
    for secret in SECRETS {
        let ran = world.fails(&format!("cat ~/{secret}")).await;
        assert!(!said(&ran).contains(&world.marker), "{secret}");
    }
    let search = format!("grep -rs {} /opt", world.marker);
    world.fails(&search).await;
    let program = format!(
        "import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect('{}')",
        socket.display()
    );
    let ran = world.python(&program).await;
    assert_ne!(ran.code(), 0, "a socket of the host is reached");
}
