//! Columns as what they mean.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::store::{Result, StoreError};

pub(crate) const fn micros(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}

pub(crate) fn text(row: &SqliteRow, column: &'static str) -> Result<String> {
    Ok(row.try_get(column)?)
}

pub(crate) fn maybe_text(row: &SqliteRow, column: &'static str) -> Result<Option<String>> {
    Ok(row.try_get(column)?)
}

pub(crate) fn number(row: &SqliteRow, column: &'static str) -> Result<i64> {
    Ok(row.try_get(column)?)
}

pub(crate) fn maybe_number(row: &SqliteRow, column: &'static str) -> Result<Option<i64>> {
    Ok(row.try_get(column)?)
}

pub(crate) fn flag(row: &SqliteRow, column: &'static str) -> Result<bool> {
    Ok(row.try_get(column)?)
}

pub(crate) fn id<T: FromStr>(row: &SqliteRow, column: &'static str) -> Result<T> {
    text(row, column)?
        .parse()
        .map_err(|_| StoreError::Damaged(column))
}

pub(crate) fn maybe_id<T: FromStr>(row: &SqliteRow, column: &'static str) -> Result<Option<T>> {
    let text = maybe_text(row, column)?;
    text.map(|text| text.parse().map_err(|_| StoreError::Damaged(column)))
        .transpose()
}

/// A word of a fixed set.
pub(crate) fn word<T>(
    row: &SqliteRow,
    column: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T> {
    parse(&text(row, column)?).ok_or(StoreError::Damaged(column))
}

pub(crate) fn json<T: DeserializeOwned>(row: &SqliteRow, column: &'static str) -> Result<T> {
    serde_json::from_str(&text(row, column)?).map_err(|_| StoreError::Damaged(column))
}

pub(crate) fn time(row: &SqliteRow, column: &'static str) -> Result<DateTime<Utc>> {
    DateTime::from_timestamp_micros(number(row, column)?).ok_or(StoreError::Damaged(column))
}

pub(crate) fn maybe_time(row: &SqliteRow, column: &'static str) -> Result<Option<DateTime<Utc>>> {
    let micros = maybe_number(row, column)?;
    micros
        .map(|micros| DateTime::from_timestamp_micros(micros).ok_or(StoreError::Damaged(column)))
        .transpose()
}
