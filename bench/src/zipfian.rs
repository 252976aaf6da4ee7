//! Skewed choices as YCSB makes them: "Quickly generating billion-record synthetic databases", Gray and others,
//! SIGMOD 1994, with the exponent 0.99 and, for keys, the popular ones scattered over the key space by a hash.

use crate::data::mix;

const THETA: f64 = 0.99;
/// YCSB scatters ranks out of ten thousand million, whatever the number of keys, and names the sum for it.
const SCRAMBLED_RANKS: u64 = 10_000_000_000;
const SCRAMBLED_ZETA: f64 = 26.469_028_201_783_02;

/// Ranks from 0, the most popular, below a number of them.
pub struct Zipfian {
    ranks: f64,
    zeta: f64,
    alpha: f64,
    eta: f64,
    second: f64,
}

impl Zipfian {
    /// Choices among so many ranks. Takes time in proportion to them.
    pub fn new(ranks: u64) -> Zipfian {
        let zeta = (1..=ranks).map(|rank| (rank as f64).powf(-THETA)).sum();
        Zipfian::with_zeta(ranks, zeta)
    }

    fn scrambled() -> Zipfian {
        Zipfian::with_zeta(SCRAMBLED_RANKS, SCRAMBLED_ZETA)
    }

    fn with_zeta(ranks: u64, zeta: f64) -> Zipfian {
        let second = 0.5_f64.powf(THETA);
        let zeta_two = 1.0 + second;
        let ranks = ranks as f64;
        let eta = (1.0 - (2.0 / ranks).powf(1.0 - THETA)) / (1.0 - zeta_two / zeta);
        Zipfian { ranks, zeta, alpha: 1.0 / (1.0 - THETA), eta, second }
    }

    /// The rank for a word of chance.
    pub fn rank(&self, chance: u64) -> u64 {
        let share = (chance >> 11) as f64 / (1_u64 << 53) as f64;
        let weight = share * self.zeta;
        if weight < 1.0 {
            0
        } else if weight < 1.0 + self.second {
            1
        } else {
            let rank = self.ranks * (self.eta * share - self.eta + 1.0).powf(self.alpha);
            (rank as u64).min(self.ranks as u64 - 1)
        }
    }
}

/// How gets choose their keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Each key equally often.
    Uniform,
    /// Scrambled zipfian, 0.99.
    Zipfian,
}

/// The numbers of the keys that a thread is to use, drawn before the clock starts: a draw from the zipfian costs as
/// much as a get.
pub fn draw(choice: Choice, keys: u64, count: u64, seed: u64) -> Vec<u32> {
    let chances = (0..count).map(|step| mix(step ^ seed << 48 ^ 0x5eed));
    match choice {
        Choice::Uniform => chances.map(|chance| (chance % keys) as u32).collect(),
        Choice::Zipfian => {
            let zipfian = Zipfian::scrambled();
            chances.map(|chance| (mix(zipfian.rank(chance)) % keys) as u32).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn popular_ranks_get_their_share() {
        let ranks = 1_000;
        let zipfian = Zipfian::new(ranks);
        let draws = 400_000_u64;
        let mut counts = vec![0_u64; ranks as usize];
        for step in 0..draws {
            counts[zipfian.rank(mix(step)) as usize] += 1;
        }
        let zeta: f64 = (1..=ranks).map(|rank| (rank as f64).powf(-THETA)).sum();
        for rank in [0_usize, 1] {
            let expected = draws as f64 * ((rank + 1) as f64).powf(-THETA) / zeta;
            let found = counts[rank] as f64;
            assert!((found / expected - 1.0).abs() < 0.03, "rank {rank}: {found} instead of {expected}");
        }
        // The method approximates the ranks behind; their sums must fit.
        let expected: f64 =
            (1..=100).map(|rank| (rank as f64).powf(-THETA)).sum::<f64>() / zeta * draws as f64;
        let found = counts[..100].iter().sum::<u64>() as f64;
        assert!((found / expected - 1.0).abs() < 0.03, "{found} instead of {expected}");
        assert!(counts.iter().all(|count| *count > 0), "every rank is drawn");
    }

    #[test]
    fn scrambled_draws_are_skewed_and_scattered() {
        let drawn = draw(Choice::Zipfian, 100_000, 200_000, 1);
        let mut counts: HashMap<u32, u32> = HashMap::new();
        for number in &drawn {
            *counts.entry(*number).or_default() += 1;
        }
        let mut popular: Vec<(u32, u32)> = counts.into_iter().collect();
        popular.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        // 1 / 26.469 of all draws.
        let first = f64::from(popular[0].1) / 200_000.0;
        assert!((0.036..0.040).contains(&first), "{first}");
        let low = popular.iter().take(100).filter(|(number, _)| *number < 50_000).count();
        assert!((30..70).contains(&low), "{low} of the hundred most popular lie in the lower half");
    }

    #[test]
    fn uniform_draws_cover_everything() {
        let drawn = draw(Choice::Uniform, 10, 1_000, 3);
        assert!((0..10).all(|number| drawn.contains(&number)));
        assert!(drawn.iter().all(|number| *number < 10));
    }
}
