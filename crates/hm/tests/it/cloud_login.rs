//! Logins that a browser lets in, and links into the dashboard; the pages themselves are under `dashboard`.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use crate::cloud::{Cloud, Service, soon};
use crate::harness::World;

/// A server that says this to `GET /cli`, and to whoever asks for a token that there is none yet.
fn stand_in(page: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut asked = BufReader::new(stream.try_clone().expect("a stream"));
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && asked.read_line(&mut head).expect("a request") > 0 {}
            let status = if head.starts_with("GET /cli ") {
                page
            } else {
                "400 Bad Request"
            };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).expect("an answer");
            // Closing before everything is read would reset the connection.
            let _ = asked.get_mut().shutdown(std::net::Shutdown::Write);
            let _ = asked.read_to_end(&mut Vec::new());
        }
    });
    url
}

/// A browser that writes down what it is given.
fn browser(world: &World) -> (std::path::PathBuf, std::path::PathBuf) {
    let (program, opened) = (world.path().join("browser.sh"), world.path().join("opened"));
    let half = world.path().join("opened.half");
    let text = format!(
        "echo \"$@\" > '{}'; mv '{}' '{}'",
        half.display(),
        half.display(),
        opened.display()
    );
    world.script(&program, &text);
    (program, opened)
}

#[test]
fn a_server_without_the_page_has_tokens() {
    let world = World::new();
    let url = stand_in("404 Not Found");
    let said = world.hm(&["cloud", "login", "--url", &url]).expect(2);
    assert!(said.stderr().contains("has no page to log in at"), "{said}");
    assert!(
        said.stderr()
            .contains(&format!("hm cloud login --url {url} --token-file")),
        "{said}"
    );
    assert_eq!(said.stdout(), "");
}

#[test]
fn a_login_that_nobody_lets_in_ends() {
    let world = World::new();
    let url = stand_in("200 OK");
    let said = world
        .hm(&["cloud", "login", "--url", &url, "--wait", "1s"])
        .expect(2);
    assert!(
        said.stderr().contains("nobody has let the login in within 1s"),
        "{said}"
    );
    assert!(said.stderr().contains("--token-file"), "{said}");
    let printed = said.stdout();
    let nonce = printed
        .strip_prefix(&format!("{url}/cli?nonce="))
        .expect("the page's URL")
        .trim();
    // 32 bytes, six bits a letter.
    assert_eq!(nonce.len(), 43, "{said}");
    let code = harmont_client::login::check_code(nonce);
    assert!(said.stderr().contains(&code), "{said}");

    let mut command = world.command(&["cloud", "login", "--url", &url]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("hm starts");
    let mut running = Service { child };
    let mut line = String::new();
    let mut output = BufReader::new(running.child.stdout.take().expect("a pipe"));
    output.read_line(&mut line).expect("it speaks");
    assert_ne!(line, printed, "each login has a nonce of its own");
    let pid = running.child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status();
    assert!(sent.expect("kill").success());
    assert_eq!(running.child.wait().expect("it ends").code(), Some(130));
    let mut complaints = String::new();
    let mut errors = running.child.stderr.take().expect("a pipe");
    errors.read_to_string(&mut complaints).expect("UTF-8");
    assert!(!complaints.contains("error"), "{complaints}");
}

#[test]
fn a_browser_is_opened_for_a_person_alone() {
    let world = World::new();
    let url = stand_in("200 OK");
    let (program, opened) = browser(&world);
    let login = ["cloud", "login", "--url", &url, "--wait", "1s"];
    for variable in ["HM_BROWSER", "BROWSER"] {
        let said = world.say(world.command(&login).env(variable, &program)).expect(2);
        soon("the browser", || opened.exists());
        assert_eq!(fs::read_to_string(&opened).expect("its page"), said.stdout());
        fs::remove_file(&opened).expect("its page");
    }
    let quiet = [&login[..], &["--no-browser"]].concat();
    world
        .say(world.command(&quiet).env("HM_BROWSER", &program))
        .expect(2);
    world
        .say(
            world
                .command(&login)
                .env("HM_BROWSER", &program)
                .env("CI", "true"),
        )
        .expect(2);
    assert!(!opened.exists());
}

#[test]
fn a_repository_does_not_choose_where_to_log_in() {
    let world = World::new();
    let url = stand_in("200 OK");
    for key in ["api_url", "app_url"] {
        world.write(".hm/config.toml", &format!("[cloud]\n{key} = \"{url}\"\n"));
        let mut command = world.command(&["cloud", "login", "--wait", "1s"]);
        if key == "app_url" {
            command.env("HM_API_URL", &url);
        }
        let said = world.say(&mut command).expect(2);
        assert!(said.stderr().contains("would have the login go to"), "{said}");
        assert_eq!(said.stdout(), "");
    }
}

#[test]
fn links_lead_into_the_dashboard_and_one_with_a_code_logs_in_once() {
    let cloud = Cloud::dev(World::new());
    cloud.world.write("p.json", &World::plan(&[("a", "true", None)]));
    let ran = cloud
        .hm(&["run", "--backend", "cloud", "--plan", "p.json"])
        .expect(0);
    let (url, (program, opened)) = (&cloud.url, browser(&cloud.world));
    let build = format!("{url}/dev/p/builds/1");
    assert!(
        format!("{}{}", ran.stdout(), ran.stderr()).contains(&build),
        "{ran}"
    );
    let open = |args: &[&str]| cloud.hm(&[&["cloud", "open"], args].concat());
    assert_eq!(open(&["p", "1"]).expect(0).stdout(), format!("{build}\n"));
    assert_eq!(open(&["p"]).expect(0).stdout(), format!("{url}/dev/p\n"));
    assert_eq!(open(&[]).expect(0).stdout(), format!("{url}/\n"));
    assert_eq!(open(&["--org", "dev"]).expect(0).stdout(), format!("{url}/dev\n"));
    open(&["none"]).expect(2);
    open(&["p", "9"]).expect(2);
    assert!(!opened.exists());
    let mut command = cloud.world.command(&["cloud", "open", "p", "1", "--login"]);
    let said = cloud
        .world
        .say(command.env("HM_BROWSER", &program))
        .expect(0)
        .stdout();
    soon("the browser", || opened.exists());
    assert_eq!(fs::read_to_string(&opened).expect("its page"), said);
    let (start, end) = (format!("{url}/login?code="), "&next=/dev/p/builds/1\n");
    let code = said.strip_prefix(&start).and_then(|rest| rest.strip_suffix(end));
    let code = code.unwrap_or_else(|| panic!("{said}"));
    let login = ["cloud", "login", "--url", url, "--code", code];
    cloud.hm(&login).expect(0);
    cloud.hm(&login).expect(2);
}

#[test]
fn a_server_to_try_things_out_prints_a_link_that_logs_in() {
    let world = World::new();
    let child = world
        .command(&["server", "--dev", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("hm starts");
    let mut server = Service { child };
    let mut url = String::new();
    let mut output = BufReader::new(server.child.stdout.take().expect("a pipe"));
    output.read_line(&mut url).expect("it speaks");
    let url = url.trim();
    let errors = BufReader::new(server.child.stderr.take().expect("a pipe"));
    let link = errors.lines().map_while(Result::ok).find_map(|line| {
        let (_, link) = line.split_once("look:")?;
        link.split_whitespace().next().map(str::to_owned)
    });
    let link = link.expect("a link");
    let code = link.strip_prefix(&format!("{url}/login?code="));
    let code = code
        .and_then(|rest| rest.strip_suffix("&next=/"))
        .unwrap_or_else(|| panic!("{link}"));
    world
        .hm(&["cloud", "login", "--url", url, "--code", code])
        .expect(0);
    server.end();
}
