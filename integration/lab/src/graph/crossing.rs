//! The order of things within their layers, with few crossing lines.
//!
//! The method is the usual one for layered drawings: each layer in turn is sorted by the mean place of what
//! its members are joined to in the layer before, downwards and upwards by turns (barycentres); then
//! neighbours are swapped as long as that helps. The best order seen is kept.

use std::collections::BTreeMap;

/// What is ordered; the caller gives the numbers.
pub(super) type Id = usize;

const SWEEPS: usize = 12;

/// Orders each layer; an edge is written upper end first and joins neighbouring layers.
pub(super) fn order(mut layers: Vec<Vec<Id>>, edges: &[(Id, Id)]) -> Vec<Vec<Id>> {
    let turned: Vec<(Id, Id)> = edges
        .iter()
        .map(|(upper, lower)| (*lower, *upper))
        .collect();
    let mut best = layers.clone();
    for _ in 0..SWEEPS {
        sweep(layers.iter_mut(), edges);
        swap(&mut layers, edges);
        keep_better(&mut best, &layers, edges);
        sweep(layers.iter_mut().rev(), &turned);
        swap(&mut layers, edges);
        keep_better(&mut best, &layers, edges);
    }
    best
}

fn keep_better(best: &mut Vec<Vec<Id>>, layers: &[Vec<Id>], edges: &[(Id, Id)]) {
    if crossings(layers, edges) < crossings(best, edges) {
        *best = layers.to_vec();
    }
}

fn places(layer: &[Id]) -> BTreeMap<Id, usize> {
    layer.iter().enumerate().map(|(p, id)| (*id, p)).collect()
}

/// Sorts every layer by the one before it; edges run from the layer before.
fn sweep<'a>(layers: impl Iterator<Item = &'a mut Vec<Id>>, edges: &[(Id, Id)]) {
    let mut before: BTreeMap<Id, usize> = BTreeMap::new();
    for layer in layers {
        let own = places(layer);
        layer.sort_by_key(|id| {
            let joined: Vec<usize> = edges
                .iter()
                .filter(|(_, to)| to == id)
                .filter_map(|(from, _)| before.get(from).copied())
                .collect();
            match joined.len() {
                // What is joined to nothing keeps its place.
                0 => own.get(id).copied().unwrap_or(0) * 1000,
                count => joined.iter().sum::<usize>() * 1000 / count,
            }
        });
        before = places(layer);
    }
}

/// Swaps neighbours as long as a swap takes crossings away.
fn swap(layers: &mut [Vec<Id>], edges: &[(Id, Id)]) {
    let mut least = crossings(layers, edges);
    let sizes: Vec<usize> = layers.iter().map(Vec::len).collect();
    let mut improved = least > 0;
    while improved {
        improved = false;
        for (layer, size) in sizes.iter().enumerate() {
            for place in 1..*size {
                exchange(layers, layer, place);
                let now = crossings(layers, edges);
                if now < least {
                    least = now;
                    improved = true;
                } else {
                    exchange(layers, layer, place);
                }
            }
        }
    }
}

fn exchange(layers: &mut [Vec<Id>], layer: usize, place: usize) {
    if let Some(layer) = layers.get_mut(layer) {
        layer.swap(place - 1, place);
    }
}

/// How many pairs of edges cross.
fn crossings(layers: &[Vec<Id>], edges: &[(Id, Id)]) -> usize {
    let mut count = 0;
    for (upper, lower) in layers.iter().zip(layers.iter().skip(1)) {
        let (upper, lower) = (places(upper), places(lower));
        let drawn: Vec<(usize, usize)> = edges
            .iter()
            .filter_map(|(from, to)| Some((*upper.get(from)?, *lower.get(to)?)))
            .collect();
        for (place, (from, to)) in drawn.iter().enumerate() {
            count += drawn
                .iter()
                .skip(place + 1)
                .filter(|(f, t)| (f < from && t > to) || (f > from && t < to))
                .count();
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_need_not_cross_do_not() {
        // 0 and 1 above, joined crosswise to 12 and 11, and those to 22 and 21.
        let layers = vec![vec![0, 1], vec![11, 12], vec![21, 22, 23]];
        let edges = [(0, 12), (1, 11), (12, 21), (11, 22), (11, 23)];
        assert!(crossings(&layers, &edges) > 0);
        let ordered = order(layers, &edges);
        assert_eq!(crossings(&ordered, &edges), 0, "{ordered:?}");
    }

    #[test]
    fn an_order_without_crossings_is_kept() {
        let layers = vec![vec![0], vec![1, 2, 3], vec![4, 5, 6]];
        let edges = [(0, 1), (0, 2), (0, 3), (1, 4), (2, 5), (3, 6)];
        assert_eq!(order(layers.clone(), &edges), layers);
    }

    #[test]
    fn crossings_are_counted_by_pairs() {
        let layers = [vec![0, 1, 2], vec![3, 4, 5]];
        assert_eq!(crossings(&layers, &[(0, 5), (1, 4), (2, 3)]), 3);
        assert_eq!(crossings(&layers, &[(0, 3), (0, 5), (1, 5), (2, 5)]), 0);
    }
}
