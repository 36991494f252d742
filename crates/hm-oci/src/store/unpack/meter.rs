//! Counting and digesting what is read, and an end to what is too much.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use sha2::{Digest, Sha256};

use super::error::UnpackError;
use crate::UnpackLimits;

/// The free space is looked at again after this many bytes.
const LOOK_AGAIN: u64 = 32 << 20;

/// A ratio says nothing about a layer that is smaller than this.
const SMALL: u64 = 1 << 30;

/// How many bytes passed, and their digest.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub bytes: u64,
    digest: Sha256,
}

impl Tally {
    pub(super) fn digest(&self) -> String {
        written(self.digest.clone())
    }
}

/// The digest of some bytes.
pub(crate) fn digest(bytes: &[u8]) -> String {
    written(Sha256::new_with_prefix(bytes))
}

fn written(digest: Sha256) -> String {
    let mut text = String::from("sha256:");
    for byte in digest.finalize() {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// Passes on what it reads and keeps a tally of it.
#[derive(Debug)]
pub(super) struct Tallied<R> {
    pub inner: R,
    pub tally: Rc<RefCell<Tally>>,
}

impl<R: Read> Read for Tallied<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let mut tally = self.tally.borrow_mut();
        tally.bytes += count as u64;
        tally.digest.update(&buffer[..count]);
        Ok(count)
    }
}

impl<W: Write> Write for Tallied<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        let mut tally = self.tally.borrow_mut();
        tally.bytes += count as u64;
        tally.digest.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Passes on what was unpacked until it is too much.
pub(super) struct Limited<R> {
    inner: R,
    packed: Rc<RefCell<Tally>>,
    unpacked: u64,
    limits: UnpackLimits,
    disk: OwnedFd,
    look_at: u64,
}

impl<R> Limited<R> {
    pub(super) const fn new(
        inner: R,
        packed: Rc<RefCell<Tally>>,
        limits: UnpackLimits,
        disk: OwnedFd,
    ) -> Self {
        Self {
            inner,
            packed,
            unpacked: 0,
            limits,
            disk,
            look_at: 0,
        }
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.unpacked += count as u64;
        self.check().map_err(io::Error::other)?;
        Ok(count)
    }
}

impl<R> Limited<R> {
    fn check(&mut self) -> Result<(), UnpackError> {
        let (unpacked, limits) = (self.unpacked, &self.limits);
        if unpacked > limits.bytes {
            return Err(UnpackError::TooMuch(format!(
                "it unpacks to more than {} bytes",
                limits.bytes
            )));
        }
        let packed = self.packed.borrow().bytes.max(1);
        if unpacked > SMALL && unpacked / packed > limits.ratio {
            return Err(UnpackError::TooMuch(format!(
                "{packed} bytes of it unpack to {unpacked}, as no honest layer does"
            )));
        }
        if unpacked >= self.look_at {
            self.look_at = unpacked + LOOK_AGAIN;
            let free = rustix::fs::fstatvfs(&self.disk)
                .map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
            if free < limits.keep_free.saturating_add(LOOK_AGAIN) {
                return Err(UnpackError::TooMuch(format!(
                    "the disk has {free} bytes left, and {} have to stay free",
                    limits.keep_free
                )));
            }
        }
        Ok(())
    }
}
