//! What is parked for which recipe. Nothing here waits or asks anybody.

use std::time::{Duration, Instant};

use super::AGAIN;
use super::demand::Demand;
use super::parked::{Condition, Parked};
use super::recipe::Recipe;

/// Recipes that are remembered; the one that is asked for least makes room for the next.
const MAX_RECIPES: usize = 256;

/// Demand below which a recipe is forgotten.
const FORGOTTEN: f64 = 0.25;

/// How long one is parked at the most: what it holds in memory is renewed now and then.
const OLD: Duration = Duration::from_secs(3600);

/// What one parked sandbox may come to, before the first one of a recipe was measured.
const GUESS: u64 = 32 << 20;

/// How many may be parked, and on how much memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of memory of all that are parked.
    pub memory: u64,
    /// Of all owners; 0 parks nothing.
    pub parked: usize,
    /// Of one owner.
    pub parked_per_uid: usize,
}

/// What is parked for which recipe.
#[derive(Default)]
pub struct Shelves {
    all: Vec<Shelf>,
}

struct Shelf {
    recipe: Recipe,
    demand: Demand,
    /// The oldest first.
    parked: Vec<Parked>,
    /// What the last one came to in memory.
    measured: u64,
    /// Not before this is another one parked.
    not_before: Option<Instant>,
}

impl Shelves {
    /// Takes the oldest that lives, and notes the demand.
    pub fn claim(&mut self, recipe: Recipe, _: Bounds, now: Instant) -> Option<Parked> {
        let place = match self.all.iter().position(|shelf| shelf.recipe == recipe) {
            Some(place) => place,
            None => {
                self.make_room(now);
                self.all.push(Shelf::new(recipe, now));
                self.all.len().checked_sub(1)?
            }
        };
        let shelf = self.all.get_mut(place)?;
        shelf.demand.note(now);
        while !shelf.parked.is_empty() {
            let parked = shelf.parked.remove(0);
            match parked.condition() {
                Condition::Waits => return Some(parked),
                Condition::Ended => {
                    let policy = shelf.recipe.policy();
                    tracing::warn!(policy, "a parked sandbox has ended by itself");
                }
                Condition::Spoke => shelf.note_speech(now),
            }
        }
        None
    }

    /// Takes out whatever should not be parked any more.
    pub fn sweep(&mut self, generation: u64, bounds: Bounds, now: Instant) -> Vec<Parked> {
        let mut unwanted = Vec::new();
        for shelf in &mut self.all {
            let current = shelf.recipe.generation() == generation && bounds.parked > 0;
            let wanted = if current { shelf.demand.wants(now) } else { 0 };
            let (keep, drop): (Vec<_>, Vec<_>) =
                std::mem::take(&mut shelf.parked).into_iter().partition(|parked| {
                    let condition = parked.condition();
                    if condition == Condition::Spoke {
                        shelf.note_speech(now);
                    }
                    condition == Condition::Waits && parked.age(now) < OLD
                });
            shelf.parked = keep;
            unwanted.extend(drop);
            while shelf.parked.len() > wanted {
                unwanted.push(shelf.parked.remove(0));
            }
        }
        self.all.retain(|shelf| {
            let current = shelf.recipe.generation() == generation;
            !shelf.parked.is_empty() || (current && shelf.demand.at(now) > FORGOTTEN)
        });
        unwanted.extend(self.make_way(bounds, now));
        unwanted
    }

    /// One of several that are parked for a recipe, where another recipe has none, would have one, and finds
    /// the bounds reached.
    fn make_way(&mut self, bounds: Bounds, now: Instant) -> Option<Parked> {
        let (count, memory) = self.parked(None);
        let lacking = self.all.iter().filter(|shelf| shelf.parked.is_empty() && shelf.lacks(now));
        let (place, _) = lacking
            .filter_map(|lacking| {
                let owner = lacking.recipe.owner();
                let of_owner = self.parked(Some(owner)).0 >= bounds.parked_per_uid;
                let of_memory = memory.saturating_add(lacking.measured) > bounds.memory;
                if !of_owner && !of_memory && count < bounds.parked {
                    return None;
                }
                let several = self.all.iter().enumerate().filter(|(_, shelf)| {
                    let oldest = shelf.parked.first().map_or(0, Parked::memory);
                    let then = memory.saturating_sub(oldest).saturating_add(lacking.measured);
                    shelf.parked.len() > 1
                        && then <= bounds.memory
                        && (!of_owner || shelf.recipe.owner() == owner)
                });
                several.max_by_key(|(_, shelf)| shelf.parked.len())
            })
            .next()?;
        Some(self.all.get_mut(place)?.parked.remove(0))
    }

    /// The recipe of which one more should be parked: of those that lack some, the one most asked for.
    pub fn wanted(&self, bounds: Bounds, now: Instant) -> Option<Recipe> {
        let (count, memory) = self.parked(None);
        if count >= bounds.parked {
            return None;
        }
        let lacking = self.all.iter().filter(|shelf| {
            let of_owner = self.parked(Some(shelf.recipe.owner())).0;
            shelf.lacks(now)
                && of_owner < bounds.parked_per_uid
                && memory.saturating_add(shelf.measured) <= bounds.memory
        });
        let most = lacking.max_by(|one, other| one.demand.at(now).total_cmp(&other.demand.at(now)));
        most.map(|shelf| shelf.recipe.clone())
    }

    /// Puts one on its shelf; it comes back if nobody remembers the recipe.
    pub fn put(&mut self, recipe: Recipe, parked: Parked) -> Option<Parked> {
        match self.all.iter_mut().find(|shelf| shelf.recipe == recipe) {
            Some(shelf) => {
                shelf.measured = parked.memory();
                shelf.parked.push(parked);
                None
            }
            None => Some(parked),
        }
    }

    /// Parks none for this recipe for a while.
    pub fn put_off(&mut self, recipe: &Recipe, until: Instant) {
        if let Some(shelf) = self.all.iter_mut().find(|shelf| shelf.recipe == *recipe) {
            shelf.not_before = Some(until);
        }
    }

    /// Takes out what is parked for some recipes.
    pub fn take(&mut self, which: impl Fn(&Recipe) -> bool) -> Vec<Parked> {
        let chosen = self.all.iter_mut().filter(|shelf| which(&shelf.recipe));
        chosen.flat_map(|shelf| std::mem::take(&mut shelf.parked)).collect()
    }

    /// Forgets some recipes; gives what is parked for them.
    pub fn forget(&mut self, which: impl Fn(&Recipe) -> bool) -> Vec<Parked> {
        let gone = self.all.extract_if(.., |shelf| which(&shelf.recipe));
        gone.flat_map(|shelf| shelf.parked).collect()
    }

    /// How many are parked, of one owner or of all, and the bytes that they hold.
    pub fn parked(&self, uid: Option<u32>) -> (usize, u64) {
        let chosen =
            self.all.iter().filter(|shelf| uid.is_none_or(|uid| shelf.recipe.owner() == uid));
        chosen
            .flat_map(|shelf| &shelf.parked)
            .fold((0, 0), |(count, memory), parked| (count + 1, memory + parked.memory()))
    }

    fn make_room(&mut self, now: Instant) {
        if self.all.len() < MAX_RECIPES {
            return;
        }
        let least = self.all.iter().enumerate().filter(|(_, shelf)| shelf.parked.is_empty());
        let least = least
            .min_by(|(_, one), (_, other)| one.demand.at(now).total_cmp(&other.demand.at(now)));
        if let Some((place, _)) = least {
            self.all.swap_remove(place);
        }
    }
}

impl Shelf {
    fn new(recipe: Recipe, now: Instant) -> Self {
        let demand = Demand::new(now);
        Self { recipe, demand, parked: Vec::new(), measured: GUESS, not_before: None }
    }

    /// One has tried to send something before it was claimed: what is imported ahead does that, so the next one would.
    fn note_speech(&mut self, now: Instant) {
        let policy = self.recipe.policy();
        tracing::warn!(policy, "a parked sandbox has tried to send something, and is not used");
        self.not_before = Some(now + AGAIN);
    }

    /// Whether one more should be parked, as far as it alone is asked.
    fn lacks(&self, now: Instant) -> bool {
        let ready = self.not_before.is_none_or(|when| when <= now);
        ready && self.parked.len() < self.demand.wants(now)
    }
}
