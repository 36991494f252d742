//! The dashboard, page by page, as a browser without scripts sees it.

mod browser;
mod guarded;
mod live;
mod logins;
mod logs;
mod pages;
