//! The database file.

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{SqlStr, Sqlite, SqlitePool, Transaction};

use super::durable::Durable;
use crate::store::{Result, StoreError};

/// Appended to, never changed: each has run on somebody's database.
const MIGRATIONS: [(i64, &str, &str); 7] = [
    (1, "begin", include_str!("../../../migrations/0001_begin.sql")),
    (2, "options", include_str!("../../../migrations/0002_options.sql")),
    (
        3,
        "retention",
        include_str!("../../../migrations/0003_retention.sql"),
    ),
    (4, "bounds", include_str!("../../../migrations/0004_bounds.sql")),
    (5, "recent", include_str!("../../../migrations/0005_recent.sql")),
    (
        6,
        "made_with",
        include_str!("../../../migrations/0006_made_with.sql"),
    ),
    (7, "waiting", include_str!("../../../migrations/0007_waiting.sql")),
];

const READERS: u32 = 4;

/// Begins what changes something. Beginning as a reader, it could find later that another one writes.
const BEGIN: &str = "BEGIN IMMEDIATE";

/// Longer than any write takes; only another process can make us wait.
const BUSY: Duration = Duration::from_secs(20);

/// An open SQLite database, its schema up to date.
#[derive(Debug, Clone)]
pub struct Database {
    reader: SqlitePool,
    writer: SqlitePool,
    durable: Durable,
}

impl Database {
    /// Opens a database file, makes it where there is none, and brings its schema up to date.
    ///
    /// # Errors
    /// When it cannot be opened, is no database, or was written by a newer version.
    pub async fn open(path: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // What is committed outlives the process. That it outlives a power cut is seen to by `durable`.
            .synchronous(SqliteSynchronous::Normal)
            .foreign_keys(true)
            .busy_timeout(BUSY);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options.clone())
            .await?;
        migrations()
            .run(&writer)
            .await
            .map_err(|error| StoreError::Database(Box::new(error)))?;
        let reader = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options.read_only(true))
            .await?;
        let durable = Durable::new(path).map_err(|error| StoreError::Database(Box::new(error)))?;
        let database = Self {
            reader,
            writer,
            durable,
        };
        database.durable().await?;
        Ok(database)
    }

    /// For statements that change nothing.
    pub(crate) const fn reader(&self) -> &SqlitePool {
        &self.reader
    }

    /// For single statements that change something. They end with [`Database::durable`].
    pub(crate) const fn writer(&self) -> &SqlitePool {
        &self.writer
    }

    /// For several statements that hold together.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Sqlite>> {
        match self.writer.begin_with(BEGIN).await {
            // When a disk is full, SQLite itself rolls back, and the connection goes on counting a transaction that
            // is none any more.
            Err(sqlx::Error::InvalidSavePointStatement) => {
                self.writer.acquire().await?.close().await?;
                Ok(self.writer.begin_with(BEGIN).await?)
            }
            begun => Ok(begun?),
        }
    }

    /// Makes them hold, whatever happens from now on.
    pub(crate) async fn commit(&self, transaction: Transaction<'static, Sqlite>) -> Result<()> {
        transaction.commit().await?;
        self.durable().await
    }

    /// Waits until what was changed outlives a power cut.
    pub(crate) async fn durable(&self) -> Result<()> {
        let done = self.durable.wait().await;
        done.map_err(|error| StoreError::Database(Box::new(error)))
    }

    /// Waits for what is under way and closes the file.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

fn migrations() -> Migrator {
    let migrations = MIGRATIONS.map(|(version, name, sql)| {
        Migration::new(
            version,
            Cow::Borrowed(name),
            MigrationType::Simple,
            SqlStr::from_static(sql),
            false,
        )
    });
    Migrator::with_migrations(migrations.to_vec())
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(Box::new(error))
    }
}

/// A statement's error, where breaking a rule of uniqueness has a meaning.
pub(super) fn or_taken(what: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |error| match &error {
        sqlx::Error::Database(database) if database.is_unique_violation() => StoreError::Taken(what),
        _ => error.into(),
    }
}
