//! Doing one thing for many items on a few threads.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Fewer items than this are not worth a thread.
const WORTH_A_THREAD: usize = 64;
const PIECE: usize = 16;

/// Calls `work` once for each number below `count`, with one `state` per thread, and returns what it gave,
/// in order. The first error ends it.
pub(super) fn each<S, T: Send, E: Send>(
    count: usize,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, usize) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    if count < WORTH_A_THREAD {
        let mut state = state();
        return (0..count).map(|index| work(&mut state, index)).collect();
    }
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let done = Mutex::new(Vec::new());
    let failed = Mutex::new(None);
    let run = || {
        let mut state = state();
        let mut pieces = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let start = next.fetch_add(PIECE, Ordering::Relaxed);
            if start >= count {
                break;
            }
            match (start..count.min(start + PIECE))
                .map(|index| work(&mut state, index))
                .collect()
            {
                Ok(piece) => pieces.push((start, piece)),
                Err(error) => {
                    stop.store(true, Ordering::Relaxed);
                    *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                }
            }
        }
        done.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .append(&mut pieces);
    };
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 8));
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(run);
        }
        run();
    });
    let mut pieces: Vec<(usize, Vec<T>)> = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => {
            pieces.sort_unstable_by_key(|(start, _)| *start);
            Ok(pieces.into_iter().flat_map(|(_, piece)| piece).collect())
        }
    }
}
