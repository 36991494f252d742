//! What a terminal is given: colors, text that cannot do harm, text that fits.

mod fit;
mod safe;
mod style;

pub(crate) use fit::{fit, width};
pub(crate) use safe::{Colors, safe};
pub use style::Style;
pub(crate) use style::{Paint, Sign};
