//! A secret on its way to the supervisor.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use hm_vm::SecretValue;

/// Sent as its bytes; its `Debug` form says nothing of it, and its memory is wiped when it goes.
#[derive(Debug, Clone)]
pub(super) struct Hidden(pub SecretValue);

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.expose().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<u8>::deserialize(deserializer).map(|bytes| Self(SecretValue::new(bytes)))
    }
}
