//! Cache keys: how the snapshot of a step is found again, and why it was not.
//!
//! Every step has an **identity**, a [`CacheKey`]; it is what the step's snapshot is stored under when its
//! policy [may be cached](crate::CachePolicy::is_cacheable), and what the identities of its `builds_in`
//! children are made of. It is the BLAKE3 digest of the step's *components*, each of which is a digest by
//! itself, so that [`KeyParts::diff`] can tell which of them changed since an earlier run:
//!
//! | component | made of | there |
//! |---|---|---|
//! | `format` | the version of this scheme | always |
//! | `parent` | the identity of the `builds_in` parent | in a step that has one |
//! | `image` | the image's reference and its digest | in a step that has none |
//! | `command` | the command | always |
//! | `environment` | the plan's variables for the step, overlaid by the run's own (`-e`) | always |
//! | `runner` | `runner`, and `runner_args` with its objects' keys sorted | when the plan names any |
//! | `policy` | the policy's name, and those of a composition's parts | always |
//! | `cache.key` | the `key` that the plan gives: time bucket, files, variables, as its author saw them | in `ttl`, `on_change`, `forever`, `compose` |
//! | `watched` | the files that the policy watches, as the run's source has them: a plan may be run long after its key was made | in `on_change`, alone or in a composition, where the run tells |
//! | `source` | the digest of the source tree, and whether `.git` is in it | for `auto`, alone or in a composition; without the digest when the step asks for `.git` |
//!
//! | `services` | of each service that it reaches, its chain's too: name, image and that one's digest, command, environment, scope, and the command of its health check | in a step that reaches any |
//! | `secrets` | the secrets' names and how the step is given each, never a value | in a step that is given any |
//! | `artifacts` | the patterns and when they are collected | in a step that names any |
//! | `caches` | the cache directories' names and paths | in a step that sees any |
//! | `shell` | the step's shell, and those of the services that it reaches | where the plan names any |
//!
//! Not in it: the key and label of the step (renaming a step keeps its snapshot), timeout, grace, retries,
//! soft-fail, limits, network, and how often and how long a service is waited for: they say whether a command may finish, not what it leaves when it does.
//!
//! A step that is never cached has an identity without `source`. What it leaves may depend on the source all
//! the same; an `auto` descendant covers that by its own `source`, and under the other policies the author
//! has said what it depends on.
//!
//! # The bytes
//!
//! A digest is BLAKE3 over a sequence of fields, and each field is its length in bytes (8 bytes, little
//! endian) followed by its bytes. The first field is a context: `hm cache key COMPONENT` for a component,
//! `hm cache key` for the key. A list is preceded by its number of elements as a field of 8 bytes, and an
//! optional field by a field of one byte that says whether it is there. So no two different inputs are the
//! same bytes. After its context the key folds the number of components and then of each one its name and
//! its digest, in the order of the table.

mod canonical;
mod digest;
mod fields;
mod inputs;
mod needs;
mod parts;

pub use digest::{CacheKey, ParseCacheKeyError};
pub use inputs::{Base, KeyInputs};
pub use parts::{Component, KeyParts};

use fields::Fields;

/// The version of this scheme: raised when the same step would get other contents under the same key.
pub const FORMAT_VERSION: u32 = 1;

fn start(component: Component) -> Fields {
    Fields::new(&format!("hm cache key {component}"))
}
