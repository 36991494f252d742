//! Servers of this machine's loopback, seen on the loopback of a process that has a network of its own.

use std::fs::File;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::AsFd;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A way from another network namespace to a server on this one's loopback. It ends with this value.
#[derive(Debug)]
pub struct Way {
    _open: UnixStream,
}

impl Way {
    /// Listens at `address` in the network of the process `pid`, and passes on what comes.
    ///
    /// # Panics
    /// When the process is gone, or nobody may enter its network.
    #[must_use]
    pub fn open(pid: u32, address: SocketAddr) -> Self {
        let network = File::open(format!("/proc/{pid}/ns/net")).expect("the process has a network");
        let (open, closed) = UnixStream::pair().expect("a pair of sockets");
        let (accepted, connections) = mpsc::channel::<TcpStream>();
        let (ready, listens) = mpsc::channel::<io::Result<()>>();
        // Its thread alone goes there: what it accepts is handed to one that has stayed.
        std::thread::spawn(move || {
            let entered = move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network));
            let listener = entered
                .map_err(io::Error::from)
                .and_then(|()| TcpListener::bind(address));
            let listener = match listener {
                Ok(listener) => {
                    let _ = ready.send(Ok(()));
                    listener
                }
                Err(error) => return drop(ready.send(Err(error))),
            };
            while waits(&listener, &closed) {
                if let Ok((connection, _)) = listener.accept()
                    && accepted.send(connection).is_err()
                {
                    return;
                }
            }
        });
        std::thread::spawn(move || {
            for from in connections {
                if let Ok(to) = TcpStream::connect(address) {
                    pass(&from, &to);
                }
            }
        });
        let listens = listens.recv().expect("the thread says whether it listens");
        listens.expect("it listens in the other network");
        Self { _open: open }
    }
}

/// Waits for a connection; false once nobody wants one any more.
fn waits(listener: &TcpListener, closed: &UnixStream) -> bool {
    let mut both = [
        PollFd::new(listener, PollFlags::IN),
        PollFd::new(closed, PollFlags::IN),
    ];
    poll(&mut both, None).is_ok() && both[1].revents().is_empty()
}

/// Copies both ways until both have ended.
fn pass(one: &TcpStream, other: &TcpStream) {
    for (from, to) in [(one, other), (other, one)] {
        let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else {
            return;
        };
        std::thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
}
