//! What is known of a pod.

use tokio::sync::Mutex;

use hm_vm::PodRequest;

/// A pod. Its container is made when its first command comes, of that command's image: so it needs no image of its
/// own.
#[derive(Debug)]
pub(super) struct Pod {
    pub request: PodRequest,
    pub holder: Mutex<Holder>,
}

/// The container of a pod.
#[derive(Debug)]
pub(super) enum Holder {
    None,
    Made(String),
    Closed,
}
