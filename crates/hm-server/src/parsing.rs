//! How many documents are parsed at once.
//!
//! A plan of a few megabytes takes many times its size while it is parsed, and a refused one as much as a good one. Whoever
//! may submit builds could take the server's memory by sending several at once, so that they take turns.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinError;

/// How many documents are parsed at once, whoever sent them.
const AT_ONCE: usize = 2;

/// Parses documents, [`AT_ONCE`] at a time, on threads that may block.
#[derive(Debug)]
pub(crate) struct Parsing {
    turns: Arc<Semaphore>,
}

impl Default for Parsing {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl Parsing {
    /// Does it when its turn comes.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        parse: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        // Never closed, so that there always is one.
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        tokio::task::spawn_blocking(move || {
            // Held to the end, also where the client has gone meanwhile.
            let _turn = turn;
            parse()
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[derive(Default)]
    struct Counts {
        running: AtomicUsize,
        most: AtomicUsize,
        done: AtomicUsize,
    }

    impl Counts {
        fn parse(&self) {
            let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(running, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(20));
            self.running.fetch_sub(1, Ordering::SeqCst);
            self.done.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[tokio::test]
    async fn parses_at_once_are_bounded() {
        let (parsing, counts) = (Parsing::default(), Arc::new(Counts::default()));
        let parses = (0..16).map(|_| {
            let counts = Arc::clone(&counts);
            parsing.run(move || counts.parse())
        });
        for parsed in futures::future::join_all(parses).await {
            parsed.expect("it ends");
        }
        assert_eq!(counts.done.load(Ordering::SeqCst), 16);
        assert_eq!(counts.most.load(Ordering::SeqCst), AT_ONCE);
    }

    #[tokio::test]
    async fn parse_of_a_client_that_has_gone_keeps_its_turn() {
        let (parsing, counts) = (Parsing::default(), Arc::new(Counts::default()));
        for _ in 0..8 {
            let counts = Arc::clone(&counts);
            let gone = parsing.run(move || counts.parse());
            let _ = tokio::time::timeout(Duration::from_millis(1), gone).await;
        }
        let counted = Arc::clone(&counts);
        parsing.run(move || counted.parse()).await.expect("it ends");
        assert!(counts.most.load(Ordering::SeqCst) <= AT_ONCE);
    }
}
