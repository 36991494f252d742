//! How a command gets to its container: as one line that a small shell program reads from its standard input, so that
//! what it is given stands in no configuration of the engine's, in no image and in no argument list.

use hm_vm::{ExecRequest, Result, SECRETS_DIR, VmError};

/// Reads the line and runs it. `hm_n` is a line break, which the line itself cannot hold.
const READ: &str = "IFS= read -r hm_line || exit 125; hm_n='\n'; eval \"$hm_line\"";

/// What follows the line, and ends every process of the container in good order.
pub(super) const TERMINATE: &[u8] = b"TERM\n";

/// Reads the line, runs it, and has signals that come after it sent to all processes but process 1. Where the input ends
/// without one, hm is gone: all are killed, and the container ends.
fn read_and_listen() -> String {
    format!(
        "exec 3<&0; IFS= read -r hm_line || exit 125; \
         (unset hm_line; while IFS= read -r hm_s; do : > {ENDING}; kill -\"$hm_s\" -1; done; kill -KILL -1) \
         <&3 > /dev/null 2>&1 & \
         hm_w=$!; hm_n='\n'; eval \"$hm_line\""
    )
}

/// After a signal, waits for every process but this one and the one that listens: each has its grace.
fn wait_for_the_rest() -> String {
    format!(
        "hm_rest() {{ for hm_p in /proc/[0-9]*; do hm_p=${{hm_p#/proc/}}; \
         case $hm_p in 1|$hm_w) continue ;; esac; \
         {{ read -r hm_x < \"/proc/$hm_p/stat\"; }} 2> /dev/null || continue; \
         case $hm_x in *') Z '*) ;; *) return 0 ;; esac; done; return 1; }}\n\
         if [ -e {ENDING} ]; then while hm_rest; do {A_MOMENT}; done; fi"
    )
}

/// Few shells' `sleep` takes no part of a second.
const A_MOMENT: &str = "sleep 0.02 2> /dev/null || sleep 1";
/// Says that all processes were sent a signal.
const ENDING: &str = "/dev/shm/.hm-ending";

/// The shell program that runs a machine's commands, one at each start. It is process 1: when it ends, the kernel ends
/// all others. Before it does, it waits for the commands that run beside its own.
pub(super) fn main_program() -> Vec<String> {
    let (read, rest) = (read_and_listen(), wait_for_the_rest());
    let program = format!(
        "{read}\nhm_code=$?; mkdir {OVER} 2> /dev/null\n\
         hm_beside() {{ for hm_f in {BESIDE}*; do hm_f=${{hm_f##*.}}; \
         [ \"$hm_f\" -gt 1 ] 2> /dev/null && [ -d \"/proc/$hm_f\" ] && return 0; done; return 1; }}\n\
         while hm_beside; do {A_MOMENT}; done\n{rest}; exit $hm_code"
    );
    vec!["sh".into(), "-c".into(), program]
}

/// Says that the machine's own command has ended.
const OVER: &str = "/dev/shm/.hm-over";
/// Say which commands run beside it: a name ends in the process.
const BESIDE: &str = "/dev/shm/.hm-beside-";

/// A command beside the machine's own says this first: it runs.
pub(super) const RUNS: u8 = b'R';
/// Or this: the machine's own has ended, and nothing was run.
pub(super) const TOO_LATE: u8 = b'X';

/// The variable that marks the processes of a command beside the machine's own.
fn mark(id: &str) -> String {
    format!("hm_exec={id}")
}

/// Ends every process of a command beside the machine's own, until there is none.
pub(super) fn sweep(id: &str) -> String {
    let mark = mark(id);
    format!(
        "hm_again=y; while [ $hm_again ]; do hm_again=; for hm_p in /proc/[0-9]*; do \
         if grep -q '{mark}' \"$hm_p/environ\" 2> /dev/null; then \
         case $(cat \"$hm_p/stat\" 2> /dev/null) in *') Z '*|'') ;; \
         *) kill -9 \"${{hm_p#/proc/}}\" 2> /dev/null && hm_again=y ;; esac; fi; done; done"
    )
}

/// The shell program that runs a command beside the machine's own.
pub(super) fn beside_program(id: &str) -> Vec<String> {
    let (mark, sweep) = (mark(id), sweep(id));
    let program = format!(
        "hm_f={BESIDE}{id}.$$; : 2> /dev/null > $hm_f\n\
         if [ -e {OVER} ]; then printf X; rm -f $hm_f; exit 125; fi; printf R; export {mark}\n\
         {READ}\nhm_code=$?; {sweep}; rm -f $hm_f; exit $hm_code"
    );
    vec!["sh".into(), "-c".into(), program]
}

/// A directory that is filled from another before the command runs.
#[derive(Debug)]
pub(super) struct Copy {
    pub from: String,
    pub to: String,
}

/// The line that runs a request. What the shell itself says of a command that a signal ended is none of the command's
/// words, and goes nowhere.
pub(super) fn line(request: &ExecRequest, copies: &[Copy]) -> Result<Vec<u8>> {
    let mut line = Line::default();
    for Copy { from, to } in copies {
        line.raw("cp -a ");
        line.word(format!("{from}/.").as_bytes());
        line.raw(" ");
        line.word(format!("{to}/").as_bytes());
        line.raw(" || exit 125; ");
    }
    for (name, value) in &request.secrets.files {
        if name.is_empty() || name.contains('/') || name == "." || name == ".." {
            return Err(VmError::Other(format!("`{name}` cannot be a secret's file name")));
        }
        line.raw("(umask 377; printf '");
        for byte in value.expose() {
            line.raw(&format!("\\{byte:03o}"));
        }
        line.raw("' > ");
        line.word(format!("{SECRETS_DIR}/{name}").as_bytes());
        line.raw(") || exit 125; ");
    }
    // What no shell can hold goes by way of `env`.
    let mut odd = Vec::new();
    for (name, value) in &request.env {
        if request.secrets.env.contains_key(name) {
            continue;
        }
        if is_name(name) {
            line.variable(name, value.as_bytes());
        } else {
            odd.push(format!("{name}={value}"));
        }
    }
    for (name, value) in &request.secrets.env {
        if !is_name(name) {
            return Err(VmError::Other(format!("`{name}` cannot be a secret's variable")));
        }
        line.variable(name, value.expose());
    }
    let directory = request.cwd.to_string_lossy();
    line.raw("[ -d ");
    line.word(directory.as_bytes());
    line.raw(" ] || mkdir -p ");
    line.word(directory.as_bytes());
    line.raw("; cd ");
    line.word(directory.as_bytes());
    line.raw(" || exit 126; set --");
    if !odd.is_empty() {
        line.raw(" env");
    }
    for word in odd.iter().chain(&request.argv) {
        line.raw(" ");
        line.word(word.as_bytes());
    }
    line.raw("; unset hm_line hm_n OLDPWD; exec 4>&2 2> /dev/null; (exec \"$@\" < /dev/null 2>&4 3<&- 4>&-)");
    line.0.push(b'\n');
    Ok(line.0)
}

/// The line of a machine that waits while a person's command runs in it, until its input ends.
pub(super) fn holding_line(request: &ExecRequest, copies: &[Copy]) -> Result<Vec<u8>> {
    let mut held = line(request, copies)?;
    if let Some(at) = held.windows(8).rposition(|window| window == b"; unset ") {
        held.truncate(at);
    }
    held.extend_from_slice(b"; read -r hm_line\n");
    Ok(held)
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[derive(Default)]
struct Line(Vec<u8>);

impl Line {
    fn raw(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    /// One word, whatever is in it.
    fn word(&mut self, bytes: &[u8]) {
        self.0.push(b'\'');
        for byte in bytes {
            match byte {
                b'\'' => self.raw("'\\''"),
                b'\n' => self.raw("'\"$hm_n\"'"),
                byte => self.0.push(*byte),
            }
        }
        self.0.push(b'\'');
    }

    fn variable(&mut self, name: &str, value: &[u8]) {
        self.raw("export ");
        self.raw(name);
        self.0.push(b'=');
        self.word(value);
        self.raw("; ");
    }
}

/// The words of a shell script that removes files, and directories that are empty then.
pub(super) fn removal<'a>(paths: impl Iterator<Item = (&'a [u8], bool)>) -> Vec<u8> {
    let mut script = b"cd / || exit 1\nhm_n='\n'\n".to_vec();
    for (path, is_directory) in paths {
        let mut line = Line::default();
        line.raw(if is_directory { "rmdir " } else { "rm -f " });
        line.word(&[b"workspace/", path].concat());
        if is_directory {
            line.raw(" 2> /dev/null || :");
        }
        line.0.push(b'\n');
        script.extend_from_slice(&line.0);
    }
    script
}
