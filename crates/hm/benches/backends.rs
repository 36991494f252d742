//! One pipeline of fifty steps on every backend, and a shell loop of `docker run` over the same commands and the
//! same image: five chains of ten steps, each of which writes a file. They take turns, so that what else the
//! machine does is the same to all; the medians are compared.
//!
//! `cargo bench -p hm --bench backends [ROUNDS]`, as root, with Debian's `docker.io`, `docker-registry` and
//! `busybox-static`.
#![expect(clippy::print_stdout, reason = "a benchmark tells its numbers")]

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hm_docker::testing::{Dockerd, Reach};
use hm_oci::testing::{ImageBuilder, Layer, Registry};

const CHAINS: usize = 5;
const STEPS: usize = 10;

type Contender<'a> = Box<dyn Fn() -> Result<(), Box<dyn Error>> + 'a>;

fn main() -> Result<(), Box<dyn Error>> {
    let rounds = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(5);
    let registry = Registry::start();
    let runtime = tokio::runtime::Runtime::new()?;
    let image = runtime.block_on(ImageBuilder::busybox().build().push(&registry, "steps:1"));
    let daemon = Dockerd::start(Reach::Localhost);
    let _way = daemon.way_to(registry.address());
    let work = tempfile::tempdir()?;
    let tree = work.path().join("tree");
    std::fs::create_dir_all(tree.join(".hm"))?;
    let plan = work.path().join("plan.json");
    std::fs::write(&plan, pipeline(&image))?;
    let data = work.path().join("data");

    let backend = |name: &'static str| {
        let (daemon, tree, plan, data) = (&daemon, tree.as_path(), plan.as_path(), data.as_path());
        move || hm(name, daemon, tree, plan, data)
    };
    let contenders: [(&str, Contender<'_>); 3] = [
        ("hm, sandbox", Box::new(backend("sandbox"))),
        ("hm, docker", Box::new(backend("docker"))),
        (
            "docker run, one after another",
            Box::new(|| shell_loop(&daemon, &image)),
        ),
    ];
    // Once each, so that every image is there and every cache warm.
    for (_, run) in &contenders {
        run()?;
    }
    let mut times = vec![Vec::new(); contenders.len()];
    for _ in 0..rounds {
        for ((_, run), times) in contenders.iter().zip(&mut times) {
            let began = Instant::now();
            run()?;
            times.push(began.elapsed());
        }
    }
    let medians: Vec<Duration> = times.iter_mut().map(|times| median(times)).collect();
    println!("{} steps, median of {rounds} rounds", CHAINS * STEPS);
    for ((name, _), took) in contenders.iter().zip(&medians) {
        let ratio = took.as_secs_f64() / medians[0].as_secs_f64();
        println!(
            "{name:32} {:>9.1} ms {:>8.2} ms a step {ratio:>7.1} times the sandbox",
            took.as_secs_f64() * 1_000.0,
            took.as_secs_f64() * 1_000.0 / (CHAINS * STEPS) as f64,
        );
    }
    beside_docker_run(rounds, &registry, &runtime, &daemon, work.path())
}

/// What a step that does nothing costs, beside `docker run` of the same image, whatever its size.
fn beside_docker_run(
    rounds: usize,
    registry: &Registry,
    runtime: &tokio::runtime::Runtime,
    daemon: &Dockerd,
    work: &Path,
) -> Result<(), Box<dyn Error>> {
    for (name, files) in [("small", 0), ("large", 30_000)] {
        let mut layer = Layer::new();
        for number in 0..files {
            layer = layer.file(
                &format!("usr/share/{}/{number}", number % 300),
                "of a large image\n",
            );
        }
        let built = ImageBuilder::busybox().layer(layer).build();
        let image = runtime.block_on(built.push(registry, &format!("{name}:1")));
        let plan = work.join(format!("{name}.json"));
        std::fs::write(&plan, chain_of_nothing(&image))?;
        let tree = work.join("tree");
        let data = work.join(format!("data-{name}"));
        let (mut steps, mut runs) = (Vec::new(), Vec::new());
        for round in 0..=rounds {
            let began = Instant::now();
            hm("docker", daemon, &tree, &plan, &data)?;
            let took = began.elapsed();
            let began = Instant::now();
            for _ in 0..STEPS {
                let mut run = Command::new("docker");
                run.args(["run", "--rm", &image, "true"]);
                passes(run.env("DOCKER_HOST", daemon.host()))?;
            }
            // The first round fetches the image.
            if round > 0 {
                steps.push(took);
                runs.push(began.elapsed());
            }
        }
        let (step, run) = (median(&mut steps), median(&mut runs));
        println!(
            "`true` on the {name} image: {:.1} ms a step of hm's, {:.1} ms a `docker run --rm`, {:.2} times",
            step.as_secs_f64() * 1_000.0 / STEPS as f64,
            run.as_secs_f64() * 1_000.0 / STEPS as f64,
            step.as_secs_f64() / run.as_secs_f64(),
        );
    }
    Ok(())
}

/// One chain of steps that do nothing.
fn chain_of_nothing(image: &str) -> String {
    let nodes: Vec<String> = (0..STEPS)
        .map(|step| {
            let image = if step == 0 {
                format!(r#","image":"{image}""#)
            } else {
                String::new()
            };
            format!(r#"{{"step":{{"key":"step-{step}","cmd":"true"{image}}},"env":{{}}}}"#)
        })
        .collect();
    let edges: Vec<String> = (1..STEPS)
        .map(|step| format!(r#"[{},{step},"builds_in"]"#, step - 1))
        .collect();
    format!(
        r#"{{"version":"0","graph":{{"nodes":[{}],"node_holes":[],"edge_property":"directed","edges":[{}]}}}}"#,
        nodes.join(","),
        edges.join(",")
    )
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn command(chain: usize, step: usize) -> String {
    format!("echo {step} > file-{chain}-{step}")
}

/// The chains as v0 IR.
fn pipeline(image: &str) -> String {
    let (mut nodes, mut edges) = (String::new(), String::new());
    for chain in 0..CHAINS {
        for step in 0..STEPS {
            let number = chain * STEPS + step;
            let base = if step == 0 {
                format!(r#","image":"{image}""#)
            } else {
                let comma = if edges.is_empty() { "" } else { "," };
                let _ = write!(edges, r#"{comma}[{},{number},"builds_in"]"#, number - 1);
                String::new()
            };
            let comma = if number == 0 { "" } else { "," };
            let cmd = command(chain, step);
            let _ = write!(
                nodes,
                r#"{comma}{{"step":{{"key":"step-{chain}-{step}","cmd":"{cmd}"{base}}},"env":{{}}}}"#
            );
        }
    }
    format!(
        r#"{{"version":"0","graph":{{"nodes":[{nodes}],"node_holes":[],"edge_property":"directed","edges":[{edges}]}}}}"#
    )
}

fn hm(backend: &str, daemon: &Dockerd, tree: &Path, plan: &Path, data: &Path) -> Result<(), Box<dyn Error>> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hm"));
    command
        .args(["run", "--backend", backend, "--format", "json", "--dir"])
        .arg(tree)
        .arg("--data-dir")
        .arg(data)
        .arg("--plan")
        .arg(plan)
        .env("DOCKER_HOST", daemon.host());
    passes(&mut command)
}

fn shell_loop(daemon: &Dockerd, image: &str) -> Result<(), Box<dyn Error>> {
    let mut script = String::from("set -e\n");
    for chain in 0..CHAINS {
        for step in 0..STEPS {
            let _ = writeln!(
                script,
                "docker run --rm --network none {image} sh -c '{}'",
                command(chain, step)
            );
        }
    }
    let mut command = Command::new("sh");
    command.args(["-c", &script]).env("DOCKER_HOST", daemon.host());
    passes(&mut command)
}

fn passes(command: &mut Command) -> Result<(), Box<dyn Error>> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let said = String::from_utf8_lossy(&output.stdout);
    let last: Vec<&str> = said.lines().rev().take(5).collect();
    Err(format!("{command:?} failed: {errors} {last:?}").into())
}
