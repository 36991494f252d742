//! Where the steps stand in a picture of the plan: a column per depth, so that every edge goes to the right.

use std::collections::VecDeque;

/// A box, and what is between boxes.
pub(super) const WIDTH: u32 = 184;
pub(super) const HEIGHT: u32 = 36;
const BESIDE: u32 = 52;
const BELOW: u32 = 12;
const MARGIN: u32 = 6;

/// A step's upper left corner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) x: u32,
    pub(super) y: u32,
}

/// Where everything stands.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) places: Vec<Place>,
    /// SVG paths.
    pub(super) edges: Vec<String>,
}

/// Lays out steps, each of which names those that it waits for by their places in the slice.
pub(super) fn layout(waits_for: &[Vec<usize>]) -> Layout {
    let depths = depths(waits_for);
    let columns = depths.iter().max().map_or(0, |deepest| deepest + 1);
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); columns];
    for (step, depth) in depths.iter().enumerate() {
        if let Some(column) = rows.get_mut(*depth) {
            column.push(step);
        }
    }
    let mut places = vec![Place { x: 0, y: 0 }; waits_for.len()];
    let mut tallest = 0;
    for (depth, column) in rows.iter_mut().enumerate() {
        // Beside what it waits for: fewer lines cross.
        column.sort_by_key(|step| {
            let above = waits_for.get(*step).map(Vec::as_slice).unwrap_or_default();
            let sum: u64 = above
                .iter()
                .filter_map(|above| places.get(*above))
                .map(|place| u64::from(place.y))
                .sum();
            (sum / u64::try_from(above.len().max(1)).unwrap_or(1), *step)
        });
        for (row, step) in column.iter().enumerate() {
            if let Some(place) = places.get_mut(*step) {
                place.x = MARGIN + at(depth) * (WIDTH + BESIDE);
                place.y = MARGIN + at(row) * (HEIGHT + BELOW);
            }
        }
        tallest = tallest.max(column.len());
    }
    let mut edges = Vec::new();
    for (step, above) in waits_for.iter().enumerate() {
        for above in above {
            if let (Some(from), Some(to)) = (places.get(*above), places.get(step)) {
                edges.push(edge(*from, *to));
            }
        }
    }
    Layout {
        width: 2 * MARGIN + at(columns) * (WIDTH + BESIDE) - if columns > 0 { BESIDE } else { 0 },
        height: 2 * MARGIN + at(tallest) * (HEIGHT + BELOW) - if tallest > 0 { BELOW } else { 0 },
        places,
        edges,
    }
}

/// The same plan with some of its steps alone: what one waits for that is left out is left out.
pub(super) fn among(waits_for: &[Vec<usize>], kept: &[usize]) -> Vec<Vec<usize>> {
    let place = |step: &usize| kept.binary_search(step).ok();
    kept.iter()
        .map(|step| {
            let above = waits_for.get(*step).map(Vec::as_slice).unwrap_or_default();
            above.iter().filter_map(place).collect()
        })
        .collect()
}

fn at(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX / 512)
}

fn edge(from: Place, to: Place) -> String {
    let (x1, y1) = (from.x + WIDTH, from.y + HEIGHT / 2);
    let (x2, y2) = (to.x, to.y + HEIGHT / 2);
    let bend = BESIDE / 2;
    format!(
        "M{x1} {y1}C{} {y1} {} {y2} {x2} {y2}",
        x1 + bend,
        x2.saturating_sub(bend)
    )
}

/// The length of the longest line of steps before each. A plan has no cycles; what stood in one would stand at 0.
fn depths(waits_for: &[Vec<usize>]) -> Vec<usize> {
    let mut depths = vec![0; waits_for.len()];
    let mut after = vec![Vec::new(); waits_for.len()];
    let mut waiting: Vec<usize> = waits_for.iter().map(Vec::len).collect();
    for (step, above) in waits_for.iter().enumerate() {
        for above in above {
            if let Some(after) = after.get_mut(*above) {
                after.push(step);
            }
        }
    }
    let mut ready: VecDeque<usize> = (0..waits_for.len())
        .filter(|step| waiting.get(*step) == Some(&0))
        .collect();
    while let Some(step) = ready.pop_front() {
        let depth = depths.get(step).copied().unwrap_or(0);
        for next in after.get(step).into_iter().flatten() {
            if let (Some(found), Some(left)) = (depths.get_mut(*next), waiting.get_mut(*next)) {
                *found = (*found).max(depth + 1);
                *left -= 1;
                if *left == 0 {
                    ready.push_back(*next);
                }
            }
        }
    }
    depths
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Acyclic: each waits for some of those before it, and then all change places.
    fn plans() -> impl Strategy<Value = Vec<Vec<usize>>> {
        let before = prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..4), 0..40);
        (before, any::<u64>()).prop_map(|(before, turn)| {
            let count = before.len();
            let mut order: Vec<usize> = (0..count).collect();
            if count > 0 {
                order.rotate_left(usize::try_from(turn % count as u64).unwrap());
            }
            let mut plan = vec![Vec::new(); count];
            for (step, above) in before.iter().enumerate().skip(1) {
                let mut above: Vec<usize> = above.iter().map(|index| order[index.index(step)]).collect();
                above.sort_unstable();
                above.dedup();
                plan[order[step]] = above;
            }
            plan
        })
    }

    proptest! {
        #[test]
        fn steps_do_not_overlap_and_every_edge_goes_to_the_right(plan in plans()) {
            let found = layout(&plan);
            for (step, place) in found.places.iter().enumerate() {
                prop_assert!(place.x + WIDTH <= found.width && place.y + HEIGHT <= found.height);
                for other in &found.places[..step] {
                    let apart = place.x.abs_diff(other.x) >= WIDTH || place.y.abs_diff(other.y) >= HEIGHT;
                    prop_assert!(apart, "{:?} {:?}", place, other);
                }
                for above in &plan[step] {
                    prop_assert!(found.places[*above].x + WIDTH < place.x);
                }
            }
            prop_assert_eq!(found.edges.len(), plan.iter().map(Vec::len).sum::<usize>());
        }
    }

    #[test]
    fn plan_of_some_steps_keeps_their_order() {
        let plan = vec![vec![], vec![0], vec![1, 0], vec![2]];
        assert_eq!(among(&plan, &[0, 2, 3]), [vec![], vec![0], vec![1]]);
    }

    #[test]
    fn nothing_has_a_picture_too() {
        assert!(layout(&[]).places.is_empty());
    }
}
