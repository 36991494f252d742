//! What a terminal is given: colors, text that cannot do harm, text that fits.

mod fit;
mod safe;
mod style;

pub(crate) use fit::fit;
pub use fit::width;
pub use safe::printable;
pub(crate) use safe::{Colors, leaves_color, safe, safe_name};
pub use style::Style;
pub(crate) use style::{Paint, Sign};
