//! A service's log: its lines go under the step that runs meanwhile.

use hm_vm::OutputChunk;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::super::output::{Output, due};

/// How many chunks of output wait between a machine and the line splitter.
pub(super) const CHUNKS: usize = 8;

/// Which step runs.
#[derive(Debug)]
pub(super) enum Turn {
    /// This one does from now on.
    Under(Uuid),
    /// None does for a while. The service waits with what it writes meanwhile; the sender is dropped once all that it has
    /// written before is told.
    Pause(oneshot::Sender<()>),
    /// No other step follows: what is still to come without one is nobody's.
    Last,
}

/// Tells what a service writes, to its end. When nobody can send `turns` any more, the rest is thrown away.
pub(super) async fn tell(
    mut output: Output<'_>,
    mut chunks: mpsc::Receiver<OutputChunk>,
    mut turns: mpsc::Receiver<Turn>,
) {
    let mut paused = false;
    loop {
        tokio::select! {
            biased;
            turn = turns.recv() => match turn {
                Some(Turn::Under(step_id)) => {
                    output.under(step_id);
                    paused = false;
                }
                Some(Turn::Pause(_told)) => {
                    for _ in 0..CHUNKS {
                        let Ok(chunk) = chunks.try_recv() else { break };
                        output.chunk(&chunk).await;
                    }
                    output.close_lines().await;
                    paused = true;
                }
                Some(Turn::Last) if !paused => {}
                Some(Turn::Last) | None => {
                    while chunks.recv().await.is_some() {}
                    return;
                }
            },
            () = due(output.due), if !paused => output.flush().await,
            chunk = chunks.recv(), if !paused => {
                let Some(chunk) = chunk else {
                    output.finish().await;
                    return;
                };
                output.chunk(&chunk).await;
            }
        }
    }
}
