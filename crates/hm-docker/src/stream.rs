//! Archives on their way to and from the engine, made and read by blocking code.

use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::sync::mpsc;

use super::manifest::{Item, laid_seconds};
use hm_source::{EntryKind, Source};

/// Pieces that may wait to be taken.
const PIECES: usize = 8;
const PIECE: usize = 128 * 1024;

type Piece = io::Result<Bytes>;

/// Runs blocking code that writes, and gives what it writes as a stream. An error of its ends the stream with it.
pub(super) fn written(
    write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
) -> impl Stream<Item = Piece> + Send + 'static {
    let (sender, receiver) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || {
        let mut sink = Sink {
            sender,
            piece: Vec::with_capacity(PIECE),
        };
        let ended = write(&mut sink).and_then(|()| sink.flush());
        if let Err(error) = ended {
            let _ = sink.sender.blocking_send(Err(error));
        }
    });
    futures::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|piece| (piece, receiver))
    })
}

struct Sink {
    sender: mpsc::Sender<Piece>,
    piece: Vec<u8>,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        let sent = self.sender.blocking_send(Ok(piece.into()));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

/// Gives a stream to blocking code that reads.
pub(super) struct Incoming {
    /// Nothing stands for the end: a stream that was cut has none.
    receiver: mpsc::Receiver<Option<Piece>>,
    piece: Bytes,
    ended: bool,
}

/// Ends an [`Incoming`] when it is dropped: blocking code that nobody waits for any more is not to read on.
pub(super) struct Flow(tokio::task::AbortHandle);

impl Drop for Flow {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Lets blocking code read what comes from the engine, for as long as the flow lives.
pub(super) fn readable<E: ToString + Send + 'static>(
    stream: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
) -> (Incoming, Flow) {
    let (sender, receiver) = mpsc::channel(PIECES);
    let task = tokio::spawn(async move {
        let mut stream = Box::pin(stream);
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|error| io::Error::other(error.to_string()));
            if sender.send(Some(piece)).await.is_err() {
                return;
            }
        }
        let _ = sender.send(None).await;
    });
    let incoming = Incoming {
        receiver,
        piece: Bytes::new(),
        ended: false,
    };
    (incoming, Flow(task.abort_handle()))
}

impl Read for Incoming {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            if self.ended {
                return Ok(0);
            }
            match self.receiver.blocking_recv() {
                Some(Some(piece)) => self.piece = piece?,
                Some(None) => self.ended = true,
                None => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        let length = into.len().min(self.piece.len());
        into[..length].copy_from_slice(&self.piece.split_to(length));
        Ok(length)
    }
}

/// Writes paths of a source as an archive that is to be unpacked at `/`, with one more file beside them.
pub(super) fn archive(
    source: &Source,
    items: &[Item],
    beside: Option<(&str, &[u8])>,
    to: &mut dyn Write,
) -> io::Result<()> {
    let mut archive = tar::Builder::new(to);
    let mut root = tar::Header::new_ustar();
    root.set_entry_type(tar::EntryType::Directory);
    root.set_mode(0o755);
    entry(&mut archive, &mut root, b"workspace/", None, None, io::empty())?;
    for item in items {
        let mut path = b"workspace/".to_vec();
        path.extend_from_slice(item.bytes());
        let mut header = tar::Header::new_ustar();
        header.set_mode(item.entry.mode);
        let mut link = None;
        let content: Box<dyn Read> = match &item.entry.kind {
            EntryKind::Directory => {
                header.set_entry_type(tar::EntryType::Directory);
                path.push(b'/');
                Box::new(io::empty())
            }
            EntryKind::Symlink { target } => {
                header.set_entry_type(tar::EntryType::Symlink);
                link = Some(target.as_os_str().as_bytes());
                Box::new(io::empty())
            }
            EntryKind::File { size, .. } => {
                header.set_entry_type(tar::EntryType::Regular);
                header.set_size(*size);
                let index = if item.bytes().ends_with(b".git/index") {
                    source.index_with_times(item.path(), laid_seconds)
                } else {
                    None
                };
                match index {
                    Some(index) => Box::new(io::Cursor::new(index)),
                    None => Box::new(source.open(item.path()).map_err(io::Error::other)?.take(*size)),
                }
            }
        };
        let seconds = Some(item.laid_seconds());
        entry(&mut archive, &mut header, &path, link, seconds, content)?;
    }
    if let Some((path, content)) = beside {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o600);
        header.set_size(content.len() as u64);
        entry(&mut archive, &mut header, path.as_bytes(), None, None, content)?;
    }
    archive.finish()
}

/// Appends an entry. What its header has no room for goes before it.
fn entry(
    archive: &mut tar::Builder<&mut dyn Write>,
    header: &mut tar::Header,
    path: &[u8],
    target: Option<&[u8]>,
    seconds: Option<i64>,
    content: impl Read,
) -> io::Result<()> {
    let mut records: Vec<(&str, Vec<u8>)> = Vec::new();
    header.set_uid(0);
    header.set_gid(0);
    if let Some(seconds) = seconds {
        header.set_mtime(u64::try_from(seconds).unwrap_or(0));
    }
    let fits = |field: &mut [u8], value: &[u8]| {
        let short = value.len() < field.len() && value.is_ascii();
        let copied = if short { value } else { b"long" };
        field[..copied.len()].copy_from_slice(copied);
        short
    };
    if let Some(ustar) = header.as_ustar_mut() {
        if !fits(&mut ustar.name, path) {
            records.push(("path", path.to_vec()));
        }
        if let Some(target) = target
            && !fits(&mut ustar.linkname, target)
        {
            records.push(("linkpath", target.to_vec()));
        }
    }
    header.set_cksum();
    archive.append_pax_extensions(records.iter().map(|(key, value)| (*key, value.as_slice())))?;
    archive.append(header, content)
}
