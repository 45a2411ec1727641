//! The search for many patterns at once (Aho and Corasick, 1975), in memory that is overwritten when
//! it is dropped: the patterns are secrets. No library does the latter.

use std::collections::VecDeque;

use zeroize::{Zeroize, Zeroizing};

/// A place in the tree of patterns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(u32);

/// A node of the tree: the first of its children, the next of its siblings, and where to go on when
/// no child fits.
#[derive(Clone, Default, Zeroize)]
struct Node {
    byte: u8,
    ends: bool,
    depth: u32,
    child: u32,
    sibling: u32,
    failure: u32,
}

/// The tree. Node 0 is its root, and the mark of "none" where a child or sibling is meant.
pub struct Automaton {
    nodes: Zeroizing<Vec<Node>>,
    /// The root's children by byte; 0 for none.
    first: Zeroizing<[u32; 256]>,
}

impl Place {
    /// Where nothing has been read that a pattern begins with.
    pub const ROOT: Self = Self(0);
}

impl Automaton {
    /// An automaton for these patterns. Empty ones are passed over.
    pub fn new(patterns: impl Iterator<Item = Zeroizing<Vec<u8>>>) -> Self {
        let patterns: Vec<_> = patterns.filter(|pattern| !pattern.is_empty()).collect();
        let most = patterns.iter().map(|pattern| pattern.len()).sum::<usize>() + 1;
        // All at once, so that growing leaves no copy behind.
        let mut nodes = Zeroizing::new(Vec::with_capacity(most));
        nodes.push(Node::default());
        let mut automaton = Self { nodes, first: Zeroizing::new([0; 256]) };
        for pattern in &patterns {
            automaton.insert(pattern);
        }
        automaton.link();
        automaton
    }

    /// Where one more byte leads, from a place.
    pub fn step(&self, from: Place, byte: u8) -> Place {
        let mut at = from.0;
        while at != 0 {
            let next = self.child(at, byte);
            if next != 0 {
                return Place(next);
            }
            at = self.node(at).failure;
        }
        Place(self.first.get(usize::from(byte)).copied().unwrap_or(0))
    }

    /// How many bytes of a pattern have been read at a place.
    pub fn depth(&self, at: Place) -> usize {
        self.node(at.0).depth as usize
    }

    /// Whether a whole pattern has.
    pub fn ends(&self, at: Place) -> bool {
        self.node(at.0).ends
    }

    /// Whether a pattern begins with a byte.
    pub fn begins_with(&self, byte: u8) -> bool {
        self.first.get(usize::from(byte)).is_some_and(|child| *child != 0)
    }

    fn insert(&mut self, pattern: &[u8]) {
        let mut at = 0;
        for byte in pattern {
            let next = self.child(at, *byte);
            at = if next == 0 { self.add(at, *byte) } else { next };
        }
        if let Some(last) = self.nodes.get_mut(at as usize) {
            last.ends = true;
        }
    }

    fn add(&mut self, parent: u32, byte: u8) -> u32 {
        // Patterns are bounded by MAX_VALUE, far below 2³² bytes in all.
        let new = u32::try_from(self.nodes.len()).unwrap_or(0);
        let (sibling, depth) = (self.node(parent).child, self.node(parent).depth + 1);
        self.nodes.push(Node { byte, depth, sibling, ..Node::default() });
        if let Some(parent) = self.nodes.get_mut(parent as usize) {
            parent.child = new;
        }
        if let (0, Some(first)) = (parent, self.first.get_mut(usize::from(byte))) {
            *first = new;
        }
        new
    }

    /// Sets where each node goes on when no child fits: at the longest end of what it has read that
    /// some pattern begins with. Breadth first, so that shorter ones are ready.
    fn link(&mut self) {
        let mut line: VecDeque<u32> = self.children(0).collect();
        while let Some(at) = line.pop_front() {
            let failure = self.node(at).failure;
            let ends = self.node(failure).ends;
            if let Some(node) = self.nodes.get_mut(at as usize) {
                node.ends |= ends;
            }
            let children: Vec<u32> = self.children(at).collect();
            for child in children {
                let Place(target) = self.step(Place(failure), self.node(child).byte);
                if let Some(node) = self.nodes.get_mut(child as usize) {
                    node.failure = target;
                }
                line.push_back(child);
            }
        }
    }

    fn children(&self, parent: u32) -> impl Iterator<Item = u32> {
        let mut next = self.node(parent).child;
        std::iter::from_fn(move || {
            let this = next;
            next = self.node(this).sibling;
            (this != 0).then_some(this)
        })
    }

    fn child(&self, parent: u32, byte: u8) -> u32 {
        if parent == 0 {
            return self.first.get(usize::from(byte)).copied().unwrap_or(0);
        }
        self.children(parent).find(|child| self.node(*child).byte == byte).unwrap_or(0)
    }

    fn node(&self, at: u32) -> &Node {
        const NONE: Node =
            Node { byte: 0, ends: false, depth: 0, child: 0, sibling: 0, failure: 0 };
        self.nodes.get(at as usize).unwrap_or(&NONE)
    }
}
