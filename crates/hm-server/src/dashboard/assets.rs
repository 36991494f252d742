//! Style sheets and scripts: files of this binary, named by their content, so that a browser keeps each for good.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::palette;

struct Asset {
    name: String,
    kind: &'static str,
    content: String,
}

impl Asset {
    fn new(stem: &str, suffix: &str, kind: &'static str, content: impl Into<String>) -> Self {
        let content = content.into();
        let hash = blake3::hash(content.as_bytes()).to_hex();
        let hash: String = hash.chars().take(12).collect();
        Self {
            name: format!("{stem}-{hash}.{suffix}"),
            kind,
            content,
        }
    }

    fn css(stem: &str, content: impl Into<String>) -> Self {
        Self::new(stem, "css", "text/css; charset=utf-8", content)
    }

    fn js(stem: &str, content: &str) -> Self {
        Self::new(stem, "js", "text/javascript; charset=utf-8", content)
    }
}

static ASSETS: LazyLock<[Asset; 6]> = LazyLock::new(|| {
    [
        Asset::css("base", include_str!("../../assets/base.css")),
        Asset::css("build", include_str!("../../assets/build.css")),
        Asset::css("palette", palette::style_sheet()),
        Asset::js("base", include_str!("../../assets/base.js")),
        Asset::js("list", include_str!("../../assets/list.js")),
        Asset::js("build", include_str!("../../assets/build.js")),
    ]
});

/// The files' paths, for the templates.
pub(super) struct Names {
    pub(super) base_css: String,
    pub(super) build_css: String,
    pub(super) palette_css: String,
    pub(super) base_js: String,
    pub(super) list_js: String,
    pub(super) build_js: String,
}

pub(super) static NAMES: LazyLock<Names> = LazyLock::new(|| {
    let [base_css, build_css, palette_css, base_js, list_js, build_js] = &*ASSETS;
    let path = |asset: &Asset| format!("/assets/{}", asset.name);
    Names {
        base_css: path(base_css),
        build_css: path(build_css),
        palette_css: path(palette_css),
        base_js: path(base_js),
        list_js: path(list_js),
        build_js: path(build_js),
    }
});

/// `GET /assets/{name}`
pub(super) async fn get(Path(name): Path<String>) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, asset.kind),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, asset.content.as_str()).into_response()
}
