//! The 256 colours as a style sheet.
//!
//! The first 16 are chosen here for dark and for light; the others are what they are everywhere. As ink on the page's own paper
//! (`f`) each is moved towards white or black until it can be read; on coloured paper (`b`) ink is left as it was meant (`F`), and
//! black or white where none was named (`onp`).

use std::fmt::Write as _;

use super::pen::rgb_of;

type Rgb = [u8; 3];

/// What logs are written on. The style sheet says the same.
const DARK: Rgb = [0x10, 0x14, 0x1a];
const LIGHT: Rgb = [0xf7, 0xf8, 0xfa];

/// The least contrast of text, as WCAG's AA asks.
const CONTRAST: f64 = 4.5;

const SIXTEEN: [Rgb; 16] = [
    [0x1c, 0x21, 0x28],
    [0xe0, 0x4f, 0x55],
    [0x3f, 0xa9, 0x5c],
    [0xc7, 0x92, 0x1e],
    [0x4a, 0x8d, 0xf0],
    [0xb4, 0x6a, 0xe0],
    [0x2a, 0xa7, 0xb5],
    [0xc9, 0xd1, 0xd9],
    [0x6e, 0x76, 0x81],
    [0xff, 0x7b, 0x72],
    [0x56, 0xd3, 0x64],
    [0xe3, 0xb3, 0x41],
    [0x79, 0xc0, 0xff],
    [0xd2, 0xa8, 0xff],
    [0x56, 0xd4, 0xdd],
    [0xff, 0xff, 0xff],
];

fn rgb(colour: u8) -> Rgb {
    SIXTEEN
        .get(usize::from(colour))
        .copied()
        .unwrap_or_else(|| rgb_of(colour))
}

/// Relative luminance, as WCAG has it.
fn luminance(rgb: Rgb) -> f64 {
    let part = |value: u8| {
        let value = f64::from(value) / 255.0;
        if value <= 0.04045 {
            value / 12.92
        } else {
            ((value + 0.055) / 1.055).powf(2.4)
        }
    };
    let [red, green, blue] = rgb.map(part);
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

fn contrast(one: Rgb, other: Rgb) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

/// The colour, moved away from the paper as far as is needed.
fn legible(colour: Rgb, paper: Rgb) -> Rgb {
    let towards = if luminance(paper) < 0.5 { 255 } else { 0 };
    let mut moved = colour;
    for _ in 0..64 {
        if contrast(moved, paper) >= CONTRAST {
            break;
        }
        for part in &mut moved {
            let step = (u8::abs_diff(*part, towards) / 12)
                .max(1)
                .min(u8::abs_diff(*part, towards));
            *part = if towards > *part {
                *part + step
            } else {
                *part - step
            };
        }
    }
    moved
}

/// Black or white: what can be read better on this paper, where the ink is the terminal's own.
fn on(paper: Rgb) -> Rgb {
    let (black, white) = ([0; 3], [255; 3]);
    if contrast(black, paper) > contrast(white, paper) {
        black
    } else {
        white
    }
}

fn hex([red, green, blue]: Rgb) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// The style sheet.
pub(super) fn style_sheet() -> String {
    let mut css = String::with_capacity(64 << 10);
    let mut rules = |prefix: &str, class: &str, property: &str, of: &dyn Fn(u8) -> Rgb| {
        for colour in 0..=255 {
            let value = hex(of(colour));
            // Writing to a string does not fail.
            let _ = writeln!(css, "{prefix}.{class}{colour}{{{property}:{value}}}");
        }
    };
    rules("", "f", "color", &|colour| legible(rgb(colour), LIGHT));
    rules("", "F", "color", &rgb);
    rules("", "b", "background-color", &rgb);
    rules(".onp", "b", "color", &|colour| on(rgb(colour)));
    rules("[data-theme=dark] ", "f", "color", &|colour| {
        legible(rgb(colour), DARK)
    });
    // A browser without the toggle's word asks the system's.
    css.push_str("@media (prefers-color-scheme:dark){\n");
    for colour in 0..=255 {
        let value = hex(legible(rgb(colour), DARK));
        let _ = writeln!(css, ":root:not([data-theme=light]) .f{colour}{{color:{value}}}");
    }
    css.push_str("}\n");
    css
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ink_can_be_read_on_dark_and_on_light() {
        for colour in 0..=255 {
            let paper = rgb(colour);
            assert!(contrast(on(paper), paper) >= CONTRAST, "on {colour}");
            for paper in [DARK, LIGHT] {
                let ink = legible(rgb(colour), paper);
                assert!(
                    contrast(ink, paper) >= CONTRAST,
                    "{colour} is {ink:?} on {paper:?}"
                );
            }
        }
    }

    #[test]
    fn the_style_sheet_has_every_colour_in_every_role() {
        let css = style_sheet();
        for colour in 0..=255 {
            for class in [
                format!("\n.F{colour}{{color"),
                format!("\n.b{colour}{{background"),
            ] {
                assert!(css.contains(&class), "{class}");
            }
        }
        assert_eq!(css.matches('{').count(), css.matches('}').count());
    }

    #[test]
    fn the_page_has_the_paper_that_inks_are_made_for() {
        let css = include_str!("../../assets/base.css");
        assert!(css.contains(&format!("--paper: {}", hex(DARK))));
        assert!(css.contains(&format!("--paper: {}", hex(LIGHT))));
    }
}
