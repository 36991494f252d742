//! Reads values with who set them.

use super::Layers;
use super::words::parse_flag;
use crate::choices::parse_size;
use crate::config_error::ConfigError;

/// Reads values with who set them.
pub(super) struct Reader<'a> {
    pub(super) layers: &'a Layers,
}

impl Reader<'_> {
    pub(super) fn value<T>(
        &self,
        key: &str,
        wanted: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some((text, origin)) = self.layers.get(key) else {
            return Ok(None);
        };
        parse(text).map(Some).ok_or_else(|| ConfigError::Value {
            key: key.into(),
            value: text.into(),
            origin: origin.to_string(),
            message: format!("not {wanted}"),
        })
    }

    pub(super) fn flag(&self, key: &str) -> Result<bool, ConfigError> {
        let flag = self.value(key, "`true` or `false`", parse_flag)?;
        Ok(flag.unwrap_or(false))
    }

    pub(super) fn size(&self, key: &str) -> Result<Option<u64>, ConfigError> {
        self.value(key, "a size, such as `512MiB` or `20GiB`", |text| {
            parse_size(text).ok()
        })
    }

    pub(super) fn choice<T: clap::ValueEnum>(&self, key: &str) -> Result<Option<T>, ConfigError> {
        let names: Vec<String> = T::value_variants()
            .iter()
            .filter_map(|variant| Some(format!("`{}`", variant.to_possible_value()?.get_name())))
            .collect();
        let wanted = format!("one of {}", names.join(", "));
        self.value(key, &wanted, |text| T::from_str(text, false).ok())
    }
}
