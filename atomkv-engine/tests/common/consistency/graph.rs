//! Directed graphs with labelled edges: strongly connected components and short cycles, without recursion.

use std::collections::{HashMap, VecDeque};

/// An edge: `from` comes before `to`. Smaller kinds are found first where several join the same two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge<Kind> {
    pub kind: Kind,
    pub from: u32,
    pub to: u32,
    /// What the edge is about; the graph does not look at it.
    pub about: u32,
}

/// The edges by the node that they leave.
pub struct Graph<Kind> {
    edges: Vec<Edge<Kind>>,
    /// Where the edges of each node begin; one more than there are nodes.
    starts: Vec<usize>,
}

impl<Kind: Copy + Ord> Graph<Kind> {
    pub fn new(nodes: usize, mut edges: Vec<Edge<Kind>>) -> Graph<Kind> {
        edges.sort_unstable_by_key(|edge| (edge.from, edge.kind, edge.to, edge.about));
        edges.dedup_by_key(|edge| (edge.from, edge.kind, edge.to));
        let mut starts = vec![0; nodes + 1];
        for edge in &edges {
            starts[edge.from as usize + 1] += 1;
        }
        for node in 0..nodes {
            starts[node + 1] += starts[node];
        }
        Graph { edges, starts }
    }

    pub fn edges(&self) -> &[Edge<Kind>] {
        &self.edges
    }

    fn leaving(&self, node: u32) -> &[Edge<Kind>] {
        &self.edges[self.starts[node as usize]..self.starts[node as usize + 1]]
    }

    fn nodes(&self) -> usize {
        self.starts.len() - 1
    }

    /// The strongly connected components of more than one node: R. Tarjan, 1972, with a stack of its own.
    pub fn knots(&self) -> Vec<Vec<u32>> {
        const UNSEEN: u32 = u32::MAX;
        let mut search = Tarjan {
            order: vec![UNSEEN; self.nodes()],
            low: vec![0; self.nodes()],
            open: vec![false; self.nodes()],
            path: Vec::new(),
            next: 0,
            knots: Vec::new(),
        };
        // Nodes that are being visited, each with the number of edges that were followed.
        let mut visits: Vec<(u32, usize)> = Vec::new();
        for root in 0..self.nodes() as u32 {
            if search.order[root as usize] != UNSEEN {
                continue;
            }
            search.enter(root);
            visits.push((root, 0));
            while let Some((node, followed)) = visits.last_mut() {
                let node = *node;
                if let Some(edge) = self.leaving(node).get(*followed) {
                    *followed += 1;
                    if search.order[edge.to as usize] == UNSEEN {
                        search.enter(edge.to);
                        visits.push((edge.to, 0));
                    } else if search.open[edge.to as usize] {
                        search.lower(node, search.order[edge.to as usize]);
                    }
                    continue;
                }
                visits.pop();
                search.leave(node);
                if let Some((parent, _)) = visits.last() {
                    search.lower(*parent, search.low[node as usize]);
                }
            }
        }
        search.knots
    }

    /// A cycle within a component (sorted, as [`Graph::knots`] gives it), as edges, with the fewest of the nodes that `counts` holds for, among those that
    /// lead through one of the first `starts_max` such nodes.
    pub fn short_cycle(
        &self,
        knot: &[u32],
        starts_max: usize,
        counts: impl Fn(u32) -> bool,
    ) -> Vec<Edge<Kind>> {
        let mut shortest: Vec<Edge<Kind>> = Vec::new();
        for start in knot.iter().copied().filter(|node| counts(*node)).take(starts_max) {
            let cycle = self.cycle_through(start, knot, &counts).unwrap_or_default();
            if shortest.is_empty() || cycle.len() < shortest.len() {
                shortest = cycle;
            }
            if shortest.len() == 2 {
                break;
            }
        }
        shortest
    }

    /// Breadth first; nodes that do not count cost nothing.
    fn cycle_through(
        &self,
        start: u32,
        knot: &[u32],
        counts: impl Fn(u32) -> bool,
    ) -> Option<Vec<Edge<Kind>>> {
        // For each node that was reached, how dearly and by which edge.
        let mut reached: HashMap<u32, (u32, Edge<Kind>)> = HashMap::new();
        let mut waiting = VecDeque::from([(start, 0)]);
        while let Some((node, spent)) = waiting.pop_front() {
            for edge in self.leaving(node).iter().filter(|edge| knot.binary_search(&edge.to).is_ok()) {
                if edge.to == start {
                    let mut cycle = vec![*edge];
                    let mut node = node;
                    while node != start {
                        let edge = reached.get(&node)?.1;
                        cycle.push(edge);
                        node = edge.from;
                    }
                    cycle.reverse();
                    return Some(cycle);
                }
                let next = spent + u32::from(counts(edge.to));
                if reached.get(&edge.to).is_some_and(|(cost, _)| *cost <= next) {
                    continue;
                }
                reached.insert(edge.to, (next, *edge));
                if next == spent {
                    waiting.push_front((edge.to, next));
                } else {
                    waiting.push_back((edge.to, next));
                }
            }
        }
        None
    }
}

struct Tarjan {
    order: Vec<u32>,
    low: Vec<u32>,
    open: Vec<bool>,
    path: Vec<u32>,
    next: u32,
    knots: Vec<Vec<u32>>,
}

impl Tarjan {
    fn enter(&mut self, node: u32) {
        self.order[node as usize] = self.next;
        self.low[node as usize] = self.next;
        self.open[node as usize] = true;
        self.path.push(node);
        self.next += 1;
    }

    fn lower(&mut self, node: u32, low: u32) {
        self.low[node as usize] = self.low[node as usize].min(low);
    }

    fn leave(&mut self, node: u32) {
        if self.low[node as usize] != self.order[node as usize] {
            return;
        }
        let start = self.path.iter().rposition(|open| *open == node).expect("an open node");
        let mut knot = self.path.split_off(start);
        for node in &knot {
            self.open[*node as usize] = false;
        }
        if knot.len() > 1 {
            knot.sort_unstable();
            self.knots.push(knot);
        }
    }
}
