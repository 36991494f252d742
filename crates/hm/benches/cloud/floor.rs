//! What loopback and HTTP cost without any of our work.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::place::Place;
use crate::{rate, spread, tell};

const ROUNDS: usize = 5_000;

pub async fn measure(place: &Place) -> Result<(), Box<dyn Error>> {
    let address = place.address().to_owned();
    let (mut echoes, mut answers) = tokio::task::spawn_blocking(move || {
        let echoes = echoes().map_err(|error| error.to_string())?;
        let answers = answers(&address).map_err(|error| error.to_string())?;
        Ok::<_, String>((echoes, answers))
    })
    .await??;
    let total: Duration = answers.iter().sum();
    tell("floor: a byte to a TCP echo and back", &spread(&mut echoes));
    tell(
        "floor: a path that the server does not have",
        &spread(&mut answers),
    );
    let each = format!("{:9.0} /s on one connection", rate(answers.len(), total));
    tell("", &each);
    Ok(())
}

fn echoes() -> Result<Vec<Duration>, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut here = TcpStream::connect(listener.local_addr()?)?;
    let (mut there, _) = listener.accept()?;
    for end in [&here, &there] {
        end.set_nodelay(true)?;
    }
    std::thread::spawn(move || {
        let mut byte = [0];
        while there.read_exact(&mut byte).is_ok() && there.write_all(&byte).is_ok() {}
    });
    let mut byte = [0];
    let rounds = (0..ROUNDS).map(|_| {
        let began = Instant::now();
        here.write_all(&byte)?;
        here.read_exact(&mut byte)?;
        Ok(began.elapsed())
    });
    rounds.collect()
}

fn answers(address: &str) -> Result<Vec<Duration>, Box<dyn Error>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let ask = format!("GET /nothing HTTP/1.1\r\nhost: {address}\r\n\r\n");
    let mut answer = Vec::new();
    let rounds = (0..ROUNDS).map(|_| {
        let began = Instant::now();
        stream.write_all(ask.as_bytes())?;
        answer.clear();
        while !is_whole(&answer) {
            let mut piece = [0; 4096];
            let read = stream.read(&mut piece)?;
            if read == 0 {
                return Err("the server hangs up".into());
            }
            answer.extend_from_slice(&piece[..read]);
        }
        Ok(began.elapsed())
    });
    rounds.collect()
}

/// Whether an answer has come whole.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    length.and_then(|length| length.parse().ok()) == Some(body.len())
}
