//! What a terminal shows while a build runs.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod record;

use std::io::{self, Write};
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hm_plugin_protocol::events::{BuildEvent, RunHeader, StdStream, StepEndStatus};
use hm_render::{BuildState, Human, Logs, Options, Renderer, Style};
use record::{ended, log, piece, queued, service, start, started};

fn nonzero(n: u16) -> NonZero<u16> {
    NonZero::new(n).unwrap()
}

/// A terminal that one can look at. As a real one does, it returns the carriage at a newline.
#[derive(Clone)]
struct Terminal(Arc<Mutex<Inner>>);

struct Inner {
    parser: vt100::Parser,
    written: Vec<u8>,
    writes: usize,
}

impl Inner {
    fn process(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' {
                self.parser.process(b"\r");
            }
            self.parser.process(&[*byte]);
        }
    }
}

impl Terminal {
    fn new(columns: u16, rows: u16) -> Self {
        let parser = vt100::Parser::new(nonzero(rows), nonzero(columns), 1000);
        Self(Arc::new(Mutex::new(Inner {
            parser,
            written: Vec::new(),
            writes: 0,
        })))
    }

    /// A terminal that wraps its lines anew when it is resized, as most do. It can do so as long as nothing was drawn twice.
    fn resize(&self, columns: u16, rows: u16) {
        let mut inner = self.0.lock().unwrap();
        inner.parser = vt100::Parser::new(nonzero(rows), nonzero(columns), 1000);
        let written = inner.written.clone();
        inner.process(&written);
    }

    fn shows(&self) -> String {
        let lines: Vec<String> = self
            .0
            .lock()
            .unwrap()
            .parser
            .screen()
            .contents()
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect();
        lines.join("\n")
    }

    fn writes(&self) -> usize {
        self.0.lock().unwrap().writes
    }

    fn is_in_alternate_screen(&self) -> bool {
        self.0.lock().unwrap().parser.screen().alternate_screen()
    }
}

impl Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut inner = self.0.lock().unwrap();
        inner.writes += 1;
        inner.written.extend_from_slice(bytes);
        inner.process(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A build before a terminal, with a clock that stands still until it is told.
struct Scene {
    terminal: Terminal,
    size: Arc<Mutex<(u16, u16)>>,
    clock: Arc<AtomicU64>,
    human: Human<Terminal>,
    state: BuildState,
}

impl Scene {
    fn new(columns: u16, rows: u16, options: Options) -> Self {
        let terminal = Terminal::new(columns, rows);
        let size = Arc::new(Mutex::new((columns, rows)));
        let clock = Arc::new(AtomicU64::new(0));
        let asked = Arc::clone(&size);
        let options = Options {
            screen: Some(Box::new(move || *asked.lock().unwrap())),
            ..options
        };
        let ticking = Arc::clone(&clock);
        let now = Box::new(move || Duration::from_millis(ticking.load(Ordering::SeqCst)));
        let human = Human::with_clock(terminal.clone(), options, now);
        Self {
            terminal,
            size,
            clock,
            human,
            state: BuildState::default(),
        }
    }

    fn play(&mut self, events: impl IntoIterator<Item = BuildEvent>) -> &mut Self {
        for event in events {
            self.state.apply(&event);
            self.human.event(&event, &self.state).unwrap();
        }
        self
    }

    fn at(&mut self, ms: u64) -> String {
        self.clock.store(ms, Ordering::SeqCst);
        self.human.tick(&self.state).unwrap();
        self.terminal.shows()
    }

    fn resize(&mut self, columns: u16, rows: u16) {
        self.terminal.resize(columns, rows);
        *self.size.lock().unwrap() = (columns, rows);
    }

    fn finish(&mut self) -> String {
        self.human.finish(&self.state).unwrap();
        self.terminal.shows()
    }
}

fn header() -> RunHeader {
    RunHeader {
        pipeline: Some("ci".into()),
        parallelism: Some(2),
        ..RunHeader::default()
    }
}

fn two_steps() -> Vec<BuildEvent> {
    vec![
        start(3, header()),
        queued(1, "build", "build", "make"),
        queued(
            2,
            "a-step-with-a-rather-long-key",
            "a-step-with-a-rather-long-key",
            "true",
        ),
        queued(3, "last", "last", "true"),
        started(1, Some("main.c has changed")),
        started(2, None),
    ]
}

#[test]
fn a_step_that_waits_for_its_services_shows_theirs() {
    let mut scene = Scene::new(50, 10, Options::default());
    scene.play(two_steps());
    scene.play([
        service(2, "redis", "ready", false),
        service(2, "db", "\x1b[2Jstarting", false),
        service(1, "db", "up", false),
        log(1, StdStream::Stdout, "Compiling"),
        service(1, "db", "statement", false),
    ]);
    insta::assert_snapshot!(scene.at(0), @r"
    run 1a2b3c4d of ci, 3 steps, 2 at once
    | build 0.0s Compiling
    | a-step-with-a-rather-lo~ 0.0s db: starting
    0.0s 0 of 3 done, 2 running
    ");
}

#[test]
fn each_running_step_has_a_line_with_its_newest_output() {
    let mut scene = Scene::new(40, 10, Options::default());
    scene.play(two_steps());
    insta::assert_snapshot!(scene.at(0), @r"
    run 1a2b3c4d of ci, 3 steps, 2 at once
    | build 0.0s not cached: main.c has ch~
    | a-step-with-a-rath~ 0.0s
    0.0s 0 of 3 done, 2 running
    ");
    scene.play([
        log(1, StdStream::Stdout, "Compiling"),
        log(1, StdStream::Stderr, "日本語の警告がとても長くてはみ出す"),
    ]);
    insta::assert_snapshot!(scene.at(1280), @r"
    run 1a2b3c4d of ci, 3 steps, 2 at once
    | build 1.2s 日本語の警告がとても長く~
    | a-step-with-a-rath~ 1.2s
    1.2s 0 of 3 done, 2 running
    ");
    scene.play([ended(1, 0, StepEndStatus::Passed), started(3, None)]);
    insta::assert_snapshot!(scene.at(2000), @r"
    run 1a2b3c4d of ci, 3 steps, 2 at once
    + build passed in 1.2s (not cached: main.c has changed)
    / a-step-with-a-rath~ 2.0s
    / last 0.7s
    2.0s 1 of 3 done, 2 running
    ");
}

#[test]
fn when_all_is_over_no_live_line_is_left() {
    let mut scene = Scene::new(40, 10, Options::default());
    scene.play(two_steps());
    scene.at(100);
    scene.play([
        ended(1, 0, StepEndStatus::Passed),
        ended(2, 0, StepEndStatus::Passed),
        record::cached(3, vec![]),
    ]);
    scene.at(200);
    scene.play([BuildEvent::BuildEnd {
        exit_code: 0,
        duration_ms: 250,
    }]);
    insta::assert_snapshot!(scene.finish(), @r"
    run 1a2b3c4d of ci, 3 steps, 2 at once
    + build passed in 1.2s (not cached: main.c has changed)
    + a-step-with-a-rather-long-key passed in 1.2s
    + last cached
    + passed in 250ms: 2 ran and passed, 1 cached
    ");
}

#[test]
fn output_cannot_break_the_live_area() {
    let mut scene = Scene::new(
        40,
        10,
        Options {
            logs: Some(Logs::All),
            ..Options::default()
        },
    );
    scene.play(two_steps());
    for harm in [
        "\x1b[2J\x1b[Hgone",
        "\x1b[5Aup",
        "\x1b[?1049halternate",
        "bell\x07",
        "1%\r2%\r100%",
        "\x1b[31mred",
        "\x1b]0;title\x07titled",
    ] {
        scene.play([log(1, StdStream::Stdout, harm)]);
        scene.at(10);
    }
    assert!(!scene.terminal.is_in_alternate_screen());
    insta::assert_snapshot!(scene.terminal.shows(), @r"
    build | gone
    build | up
    build | alternate
    build | bell
    build | 100%
    build | red
    build | titled
    | build 0.0s titled
    | a-step-with-a-rath~ 0.0s
    0.0s 0 of 3 done, 2 running
    ");
}

#[test]
fn more_steps_than_rows_are_counted() {
    let mut scene = Scene::new(40, 5, Options::default());
    scene.play([start(20, header())]);
    scene.play((0..20).map(|n| queued(n, &format!("s{n}"), "", "true")));
    scene.play((0..20).map(|n| started(n, None)));
    scene.at(0);
    scene.at(80);
    insta::assert_snapshot!(scene.at(160), @r"
    run 1a2b3c4d of ci, 20 steps, 2 at once
    - s0 0.1s
    - s1 0.1s
    - s2 0.1s
    0.1s 0 of 20 done, 20 running (17 not ~
    ");
    // Drawing again and again must not scroll the header away more than once.
    scene.play((0..20).map(|n| ended(n, 0, StepEndStatus::Passed)));
    scene.at(300);
    insta::assert_snapshot!(scene.terminal.shows(), @r"
    + s16 passed in 1.2s
    + s17 passed in 1.2s
    + s18 passed in 1.2s
    + s19 passed in 1.2s
    ");
}

#[test]
fn a_resize_leaves_no_trace() {
    for (columns, rows) in [(100, 30), (24, 10), (24, 5), (12, 20)] {
        let mut scene = Scene::new(60, 10, Options::default());
        scene.play(two_steps());
        scene.play([log(2, StdStream::Stdout, "x")]);
        scene.at(0);
        scene.resize(columns, rows);
        let shown = scene.at(160);
        assert_eq!(shown.matches("build 0").count(), 1, "{shown}");
        assert_eq!(shown.matches("0 of").count(), 1, "{shown}");
        let header = "run 1a2b3c4d of ci, 3 steps, 2 at once";
        let first = &header[..header.len().min(columns.into())];
        assert!(rows < 8 || shown.starts_with(first), "{shown}");
    }
}

#[test]
fn pieces_of_a_line_are_shown_as_one() {
    let mut scene = Scene::new(
        40,
        12,
        Options {
            logs: Some(Logs::All),
            ..Options::default()
        },
    );
    scene.play(two_steps());
    scene.play([
        piece(1, StdStream::Stdout, "one", true),
        log(2, StdStream::Stdout, "between"),
        piece(1, StdStream::Stdout, "two", false),
        log(1, StdStream::Stdout, "next"),
    ]);
    insta::assert_snapshot!(scene.at(0), @r"
    run 1a2b3c4d of ci, 3 steps, 2 at once
    > build started from host (not cached: main.c has changed)
    > a-step-with-a-rather-long-key started
    a-step-with-a-rather-long-key | between
    build | onetwo
    build | next
    | build 0.0s next
    | a-step-with-a-rath~ 0.0s between
    0.0s 0 of 3 done, 2 running
    ");
}

#[test]
fn a_canceled_build_says_so() {
    let mut scene = Scene::new(
        60,
        12,
        Options {
            style: Style {
                color: true,
                unicode: true,
            },
            ..Options::default()
        },
    );
    scene.play(two_steps());
    scene.at(0);
    scene.play([
        ended(1, 130, StepEndStatus::Canceled),
        ended(2, 130, StepEndStatus::Canceled),
        record::skipped(3, "the build was canceled"),
        BuildEvent::BuildEnd {
            exit_code: 130,
            duration_ms: 1500,
        },
    ]);
    insta::assert_snapshot!(scene.finish(), @r"
    run 1a2b3c4d of ci, 3 steps, 2 at once
    - build canceled after 1.2s
    - a-step-with-a-rather-long-key canceled after 1.2s
    - last skipped: the build was canceled
    ! canceled after 1.5s: 2 canceled, 1 skipped
    ");
}

#[test]
fn quiet_shows_failures_and_the_verdict_alone() {
    let mut scene = Scene::new(
        60,
        14,
        Options {
            quiet: true,
            ..Options::default()
        },
    );
    scene.play(two_steps());
    scene.play([
        log(1, StdStream::Stdout, "why"),
        ended(2, 0, StepEndStatus::Passed),
    ]);
    assert_eq!(scene.at(100), "");
    scene.play([
        ended(1, 2, StepEndStatus::Failed),
        BuildEvent::BuildEnd {
            exit_code: 1,
            duration_ms: 1500,
        },
    ]);
    insta::assert_snapshot!(scene.finish(), @r"

    x build failed with exit code 2 after 1.2s
      command: make
      output:
      | why
      a shell where it failed:
        hm shell 1a2b3c4d/build
      run it again from there:
        hm rerun --from build

    x failed after 1.5s: 1 failed, 1 ran and passed, 1 never ended
    ");
}

#[test]
fn a_flood_is_written_in_large_pieces() {
    let mut scene = Scene::new(
        80,
        24,
        Options {
            logs: Some(Logs::All),
            ..Options::default()
        },
    );
    scene.play(two_steps());
    scene.play((0..20_000).map(|n| log(1, StdStream::Stdout, &format!("line {n}"))));
    let shown = scene.at(1);
    assert!(shown.contains("line 19999"), "{shown}");
    assert!(scene.terminal.writes() < 30, "{} writes", scene.terminal.writes());
}
