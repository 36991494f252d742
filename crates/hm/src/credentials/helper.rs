//! `docker-credential-NAME get`: the server's name on its standard input, JSON on its standard output.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use hm_oci::Credentials;
use rustix::process::{Pid, Signal, kill_process_group};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// A helper may ask a person, who may need a while to find the window.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What stands in for the name where the secret is an identity token.
const TOKEN: &str = "<token>";
/// The name that goes with an identity token.
const IDENTITY: &str = "00000000-0000-0000-0000-000000000000";
/// An answer is a few hundred bytes.
const LONGEST_ANSWER: u64 = 1 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: SecretString,
}

/// Asks a helper for a server's credentials; `None` where it has none.
///
/// # Errors
/// Words that name the helper, and nothing of what it has told.
pub fn ask(name: &str, path: &str, server: &str, patience: Duration) -> Result<Option<Credentials>, String> {
    let program = format!("docker-credential-{name}");
    if name.contains('/') {
        return Err(format!("`{name}` is no name of a credential helper"));
    }
    let mut child = Command::new(&program)
        .arg("get")
        .env("PATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // What it starts goes with it.
        .process_group(0)
        .spawn()
        .map_err(|error| format!("the credential helper {program} cannot be started: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read its input is judged by what it answers.
        let _ = stdin.write_all(server.as_bytes());
    }
    let answer = read(&mut child, patience);
    kill(&child);
    let status = child.wait();
    let Some(answer) = answer else {
        return Err(format!(
            "the credential helper {program} said nothing within {} seconds",
            patience.as_secs()
        ));
    };
    if !status.is_ok_and(|status| status.success()) {
        let said = answer.expose_secret().to_lowercase();
        if said.contains("not found") {
            return Ok(None);
        }
        return Err(format!(
            "the credential helper {program} failed for {server}; `echo {server} | {program} get` tells why"
        ));
    }
    let answer: Answer = serde_json::from_str(answer.expose_secret())
        .map_err(|_| format!("the credential helper {program} answered something that is no credentials"))?;
    Ok(Some(if answer.username == TOKEN {
        identity(answer.secret)
    } else {
        Credentials::Basic {
            username: answer.username,
            password: answer.secret,
        }
    }))
}

/// What an identity token is shown as: with this name a registry's token server takes it for a password.
pub fn identity(token: SecretString) -> Credentials {
    Credentials::Basic {
        username: IDENTITY.to_owned(),
        password: token,
    }
}

/// All that it says before it ends or closes its output.
fn read(child: &mut Child, patience: Duration) -> Option<SecretString> {
    let stdout = child.stdout.take()?;
    let (sender, receiver) = mpsc::channel();
    // Left behind when nothing comes: what holds the pipe is killed, which ends the read.
    std::thread::spawn(move || {
        let mut text = String::new();
        // What is not UTF-8 is no JSON either.
        let _ = stdout.take(LONGEST_ANSWER).read_to_string(&mut text);
        let _ = sender.send(SecretString::from(text));
    });
    receiver.recv_timeout(patience).ok()
}

fn kill(child: &Child) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(group) = group {
        // It may have ended by itself.
        let _ = kill_process_group(group, Signal::KILL);
    }
}
