use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::leaf::LEAF_BYTES_MAX;
use super::*;

/// Numbers that look random, the same for each seed (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// A key, whether it is a ghost.
type Model = BTreeMap<Vec<u8>, bool>;

/// How the keys of a random test look.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Random,
    /// All begin with the same 300 bytes, most with the same 340.
    LongPrefix,
    /// Each is the beginning of others.
    Nested,
    /// Up to 65,535 bytes.
    Giant,
    Numbers,
}

const SHAPES: [Shape; 5] = [Shape::Random, Shape::LongPrefix, Shape::Nested, Shape::Giant, Shape::Numbers];

fn key_of_shape(shape: Shape, number: usize) -> Vec<u8> {
    match shape {
        Shape::Random => {
            let mixed = Random(number as u64).next();
            mixed.to_be_bytes()[..1 + number % 8].to_vec()
        }
        Shape::LongPrefix => {
            let mut key = vec![7; 300];
            key.resize(300 + 40 * usize::from(!number.is_multiple_of(16)), 9);
            key.extend_from_slice(&(number as u32).to_be_bytes());
            key
        }
        Shape::Nested => vec![number as u8 % 3; 1 + number / 3],
        Shape::Giant => {
            let lengths = [65_535, 65_534, 40_000, 300, 17_000, 3];
            let mut key = vec![(number % 5) as u8; lengths[number % lengths.len()]];
            let last = key.len() - 2;
            key[last..].copy_from_slice(&(number as u16).to_be_bytes());
            key
        }
        Shape::Numbers => format!("order:{number:09}").into_bytes(),
    }
}

/// A bound at, just before or just behind a key, or none.
fn any_bound(shape: Shape, random: &mut Random, variety: usize) -> Bound<Vec<u8>> {
    let mut key = key_of_shape(shape, random.below(variety));
    match random.below(4) {
        0 => key.push(0),
        1 => {
            key.pop();
        }
        _ => {}
    }
    match random.below(5) {
        0 => Bound::Unbounded,
        1 | 2 => Bound::Included(key),
        _ => Bound::Excluded(key),
    }
}

fn borrowed(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(|key| &key[..])
}

fn lies_within(key: &[u8], low: Bound<&[u8]>, high: Bound<&[u8]>) -> bool {
    let above = match low {
        Bound::Unbounded => true,
        Bound::Included(low) => key >= low,
        Bound::Excluded(low) => key > low,
    };
    let below = match high {
        Bound::Unbounded => true,
        Bound::Included(high) => key <= high,
        Bound::Excluded(high) => key < high,
    };
    above && below
}

fn walked(index: &OrderedIndex, low: Bound<&[u8]>, high: Bound<&[u8]>, limit: usize) -> [Vec<Vec<u8>>; 2] {
    let (mut up, mut down) = (Keys::new(), Keys::new());
    index.forward(low, high, limit, &mut up);
    index.backward(high, low, limit, &mut down);
    [&up, &down].map(|keys| keys.iter().map(<[u8]>::to_vec).collect())
}

fn check_walks(index: &OrderedIndex, model: &Model, low: Bound<&[u8]>, high: Bound<&[u8]>, limit: usize) {
    let within: Vec<_> = model.keys().filter(|key| lies_within(key, low, high)).collect();
    let [up, down] = walked(index, low, high, limit);
    assert!(up.iter().eq(within.iter().take(limit).copied()), "{low:?} to {high:?}, {limit}");
    assert!(down.iter().eq(within.iter().rev().take(limit).copied()), "{low:?} to {high:?}, {limit}");
}

/// What must hold at rest, whatever has happened.
fn check_structure(index: &OrderedIndex, model: &Model) {
    check_walks(index, model, Bound::Unbounded, Bound::Unbounded, usize::MAX);
    assert_eq!(index.len(), model.values().filter(|is_ghost| !**is_ghost).count() as u64);
    let directory = index.directory.read();
    let bounds: Vec<_> = directory.keys().map(Separator::as_slice).collect();
    assert!(bounds[0].is_empty());
    let mut heap_bytes = 0;
    for (at, (bound, slot)) in directory.iter().enumerate() {
        let leaf = slot.leaf.read();
        heap_bytes += leaf.heap_bytes() + bound.heap_bytes();
        assert!(!leaf.is_too_large());
        assert!(leaf.len() > 0 || directory.len() == 1, "an empty leaf stays");
        let high = bounds.get(at + 1).map_or(Bound::Unbounded, |next| Bound::Excluded(*next));
        for number in 0..leaf.len() {
            let key = leaf.key(number);
            assert!(lies_within(&key, Bound::Included(bounds[at]), high));
            assert_eq!(model.get(&key), Some(&leaf.is_ghost(number)));
        }
    }
    assert_eq!(index.heap_bytes.load(Ordering::Relaxed), heap_bytes as u64);
}

fn image_of(index: &OrderedIndex) -> Vec<Vec<u8>> {
    let (mut blobs, mut from) = (Vec::new(), None);
    loop {
        let mut blob = Vec::new();
        from = index.encode_leaf(from.as_deref(), &mut blob);
        if !blob.is_empty() {
            blobs.push(blob);
        }
        if from.is_none() {
            return blobs;
        }
    }
}

fn rebuilt(blobs: &[Vec<u8>]) -> OrderedIndex {
    let mut builder = OrderedBuilder::new();
    assert!(blobs.iter().all(|blob| builder.push_all(&OrderedIndex::decode_leaf(blob).unwrap())));
    builder.finish()
}

/// One random operation on both; `inserted` gets what insertions returned true for.
fn change(
    index: &OrderedIndex,
    model: &mut Model,
    key: Vec<u8>,
    operation: usize,
    sequence: u64,
    inserted: &mut BTreeMap<Vec<u8>, u64>,
) {
    let present = model.get(&key).copied();
    match operation {
        0 => {
            assert_eq!(index.remove(&key), present.is_some());
            model.remove(&key);
        }
        1 => {
            assert_eq!(index.make_ghost(&key), present == Some(false));
            model.entry(key).and_modify(|is_ghost| *is_ghost = true);
        }
        2 => {
            assert_eq!(index.remove_ghost(&key), present == Some(true));
            if present == Some(true) {
                model.remove(&key);
            }
        }
        _ => {
            let is_new = present != Some(false);
            assert_eq!(index.insert(&key, sequence), is_new);
            if is_new {
                inserted.insert(key.clone(), sequence);
            }
            model.insert(key, false);
        }
    }
}

fn run_model(shape: Shape, seed: u64) {
    let mut random = Random(seed);
    let (steps, variety): (usize, usize) = match shape {
        Shape::Giant => (500, 90),
        Shape::Nested => (4_000, 3_000),
        _ => (8_000, 200 + random.below(6_000)),
    };
    let index = OrderedIndex::new();
    let (mut model, mut inserted) = (Model::new(), BTreeMap::new());
    for step in 0..steps {
        // Times of growth and times of shrinking, down to nothing in the end.
        let growing = step % (steps / 2) < steps / 3 && step < steps * 3 / 4;
        let operation = random.below(if growing { 9 } else { 4 });
        // One in eight keys comes in order.
        let key = match random.below(8) {
            0 => key_of_shape(shape, step % variety),
            _ => key_of_shape(shape, random.below(variety)),
        };
        change(&index, &mut model, key, operation, step as u64 + 1, &mut inserted);
        if step.is_multiple_of(steps / 50) {
            let (low, high) =
                (any_bound(shape, &mut random, variety), any_bound(shape, &mut random, variety));
            let (low, high) = (borrowed(&low), borrowed(&high));
            check_walks(&index, &model, low, high, [0, 1, 7, 3_000, usize::MAX][random.below(5)]);
            let sequence = random.below(step + 2) as u64;
            let must_say_yes = inserted.iter().any(|(key, at)| *at > sequence && lies_within(key, low, high));
            assert!(
                index.inserted_since(low, high, sequence) || !must_say_yes,
                "{low:?} to {high:?}, {sequence}"
            );
            assert!(!index.inserted_since(low, high, step as u64 + 1));
        }
        if step.is_multiple_of(steps / 5) {
            check_structure(&index, &model);
            model.retain(|_, is_ghost| !*is_ghost);
            let live = rebuilt(&image_of(&index));
            check_structure(&live, &model);
            // What was built goes on like any other.
            let keys = walked(&index, Bound::Unbounded, Bound::Unbounded, usize::MAX)[0].clone();
            for key in keys.iter().filter(|key| !model.contains_key(*key)) {
                assert!(index.remove_ghost(key));
                assert!(live.insert(key, 1) && live.remove(key));
            }
            check_structure(&live, &model);
        }
    }
    for key in model.keys() {
        assert!(index.remove(key));
    }
    check_structure(&index, &Model::new());
    assert_eq!(index.directory.read().len(), 1);
    assert_eq!(index.heap_bytes.load(Ordering::Relaxed), 0);
}

/// `ATOMKV_SEEDS` says how many seeds to run of each shape.
#[test]
fn it_does_what_a_sorted_map_does() {
    let seeds = std::env::var("ATOMKV_SEEDS").map_or(12, |seeds| seeds.parse().unwrap());
    for shape in SHAPES {
        for seed in 0..seeds {
            println!("{shape:?}, seed {seed}");
            run_model(shape, seed);
        }
    }
}

#[test]
fn every_pair_of_bounds_gives_what_lies_between() {
    let index = OrderedIndex::new();
    let mut model = Model::new();
    for number in 0..2_000u32 {
        let key = (number * 2).to_be_bytes().to_vec();
        index.insert(&key, 1);
        model.insert(key, false);
    }
    assert!(index.directory.read().len() > 4);
    let edges: Vec<Vec<u8>> = {
        let directory = index.directory.read();
        let some = directory.keys().take(3).map(|bound| bound.as_slice().to_vec());
        // At a key, between keys, at bounds of leaves, before the first, at and behind the last.
        some.chain([500u32, 501, 3_998, 5_000].map(|number| number.to_be_bytes().to_vec())).collect()
    };
    let mut bounds = vec![Bound::Unbounded];
    for edge in &edges {
        bounds.extend([Bound::Included(&edge[..]), Bound::Excluded(&edge[..])]);
    }
    for low in &bounds {
        for high in &bounds {
            for limit in [0, 1, 300, usize::MAX] {
                check_walks(&index, &model, *low, *high, limit);
            }
        }
    }
}

#[test]
fn insertions_are_told_of_empty_ranges_and_behind_the_last_key() {
    let index = OrderedIndex::new();
    let all = (Bound::Unbounded, Bound::Unbounded);
    assert!(!index.inserted_since(all.0, all.1, 0));
    assert!(index.insert(b"m", 5));
    let (behind, z) = (Bound::Excluded(&b"m"[..]), Bound::Included(&b"z"[..]));
    assert!(!index.inserted_since(behind, Bound::Unbounded, 5));
    assert!(index.insert(b"x", 6) && index.remove(b"x"));
    assert!(index.inserted_since(behind, Bound::Unbounded, 5));
    assert!(index.inserted_since(Bound::Included(b"x"), z, 5));
    // A ghost that lives again counts as inserted, a key that is there does not.
    assert!(index.make_ghost(b"m") && index.insert(b"m", 7) && !index.insert(b"m", 8));
    assert!(index.inserted_since(Bound::Included(b"m"), Bound::Included(b"m"), 6));
    assert!(!index.inserted_since(all.0, all.1, 7));
    // Nothing can lie within these.
    assert!(!index.inserted_since(z, Bound::Included(b"a"), 0));
    assert!(!index.inserted_since(Bound::Excluded(b"m"), Bound::Included(b"m"), 0));
}

/// A leaf goes when its keys go, wherever in it or beside it the removals begin; the number of its newest insertion
/// must not go with it.
#[test]
fn insertions_are_told_when_their_leaf_was_joined_with_another() {
    let key = |number: usize| (number as u32 * 2).to_be_bytes();
    let count = BULK_KEYS * 4;
    for inserted in (0..count).step_by(BULK_KEYS / 3) {
        let keys: Vec<_> = (0..count).map(key).collect();
        for is_backward in [false, true] {
            let index = OrderedIndex::from_sorted(keys.iter().map(|key| &key[..])).unwrap();
            let odd = (inserted as u32 * 2 + 1).to_be_bytes();
            assert!(index.insert(&odd, 100) && index.remove(&odd));
            let bound = Bound::Included(&odd[..]);
            for number in 0..count {
                let number = if is_backward { count - 1 - number } else { number };
                assert!(index.remove(&key(number)));
                assert!(index.inserted_since(bound, bound, 99), "{inserted}, {number}, {is_backward}");
            }
            assert_eq!(index.directory.read().len(), 1);
            assert!(!index.inserted_since(bound, bound, 100));
        }
    }
}

#[test]
fn keys_in_order_leave_full_leaves() {
    let count = 100_000u32;
    let key = |number: u32| format!("customer:{number:08}").into_bytes();
    let leaves_of = |numbers: &mut dyn Iterator<Item = u32>| {
        let index = OrderedIndex::new();
        numbers.for_each(|number| assert!(index.insert(&key(number), 1)));
        index.directory.read().len()
    };
    let full = (count as usize).div_ceil(LEAF_KEYS_MAX);
    assert!(leaves_of(&mut (0..count)) <= full + 1);
    assert!(leaves_of(&mut (0..count).rev()) <= full + 1);
    // Two neighbours out of order, as concurrent writers are.
    assert!(leaves_of(&mut (0..count).map(|number| number ^ 1)) <= full * 11 / 10);
    // Streams between each other.
    let streams = 50;
    let interleaved = &mut (0..count).map(|number| number % streams * (count / streams) + number / streams);
    assert!(leaves_of(interleaved) <= full * 3 / 2);
    // Each just below the one before and above a full leaf: no leaf per key.
    let index = OrderedIndex::new();
    (0..LEAF_KEYS_MAX as u32).for_each(|number| assert!(index.insert(&key(number), 1)));
    let last = key(LEAF_KEYS_MAX as u32 - 1);
    (1..=255).rev().for_each(|byte| assert!(index.insert(&[&last[..], &[byte]].concat(), 1)));
    assert!(index.directory.read().len() <= 6);
}

#[test]
fn a_table_whose_keys_come_and_go_does_not_grow() {
    let index = OrderedIndex::new();
    let mut random = Random(3);
    let mut waiting = std::collections::VecDeque::new();
    let mut most_bytes = 0;
    for step in 0..300_000 {
        let key = [random.next(), random.next()].map(u64::to_be_bytes).concat();
        assert!(index.insert(&key, step));
        waiting.push_back(key);
        if waiting.len() > 5_000 {
            assert!(index.remove(&waiting.pop_front().unwrap()));
        }
        if step == 50_000 {
            most_bytes = index.bytes();
        }
    }
    assert!(index.bytes() < most_bytes * 5 / 4, "{} bytes became {}", most_bytes, index.bytes());
    assert!(index.bytes() < 5_000 * 40);
}

#[test]
fn keys_of_all_lengths_are_kept() {
    let index = OrderedIndex::new();
    let mut model = Model::new();
    for length in [1, 2, 254, 255, 256, 257, 16_383, 16_384, 16_385, 65_279, 65_280, 65_534, KEY_BYTES_MAX] {
        for byte in [0, 1, 128, 255] {
            assert!(index.insert(&vec![byte; length], 1));
            model.insert(vec![byte; length], false);
        }
    }
    check_structure(&index, &model);
    check_structure(&rebuilt(&image_of(&index)), &model);
    // Where giants differ in their last bytes only, so do the bounds between them: that doubles what they take.
    let key_bytes = model.keys().map(Vec::len).sum::<usize>() as u64;
    assert!(index.bytes() < key_bytes * 9 / 4, "{} bytes for {key_bytes}", index.bytes());
    for key in model.keys() {
        assert!(index.remove(key) && !index.remove(key));
    }
    assert_eq!(index.len(), 0);
}

#[test]
fn a_leaf_of_giants_is_split_until_each_stands_alone() {
    let mut random = Random(9);
    let index = OrderedIndex::new();
    for number in 0..64u8 {
        let mut key = vec![random.next() as u8; LEAF_BYTES_MAX + 1];
        key[0] = number.reverse_bits();
        assert!(index.insert(&key, 1));
    }
    assert_eq!(index.directory.read().len(), 64);
}

#[test]
fn builders_refuse_what_does_not_ascend() {
    let long = vec![1; KEY_BYTES_MAX + 1];
    assert!(OrderedIndex::from_sorted([&b"a"[..], b"b"]).is_some());
    for keys in [vec![&b"b"[..], b"a"], vec![b"a", b"a"], vec![b""], vec![b"a", b""], vec![&long[..]]] {
        assert!(OrderedIndex::from_sorted(keys).is_none());
    }
    // Across the border of two leaves too.
    let mut builder = OrderedBuilder::new();
    for number in 0..BULK_KEYS as u32 * 2 + 1 {
        assert!(builder.push(&number.to_be_bytes()));
        assert!(!builder.push(&number.to_be_bytes()));
    }
    assert_eq!(builder.finish().len(), BULK_KEYS as u64 * 2 + 1);
}

#[test]
fn hostile_blobs_are_refused() {
    let decode = OrderedIndex::decode_leaf;
    let sound = decode(&[2, 0, 1, b'a', 1, 1, b'b']).unwrap();
    assert!(sound.iter().eq([&b"a"[..], b"ab"]));
    for bytes in [
        &[][..],
        &[0],
        &[1],
        // No keys, one that is empty, one that shares with nothing, bytes behind the last.
        &[0, 0, 1, b'a'],
        &[1, 0, 0],
        &[1, 1, 1, b'a'],
        &[1, 0, 1, b'a', 0],
        // The same key twice, one that descends, one that shares more than there is.
        &[2, 0, 1, b'a', 0, 1, b'a'],
        &[2, 0, 1, b'b', 0, 1, b'a'],
        &[2, 0, 2, b'a', b'b', 1, 1, b'a'],
        &[2, 0, 1, b'a', 2, 1, b'b'],
        // Lengths and numbers that are not there.
        &[1, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1],
        &[255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0, 1, b'a'],
        &[1, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255],
    ] {
        assert!(decode(bytes).is_none(), "{bytes:?}");
    }
    // A key that is too long by itself, and one by what it shares.
    let mut bytes = vec![1, 0, 0x80, 0x80, 4];
    bytes.resize(5 + 65_536, 1);
    assert!(decode(&bytes).is_none());
    let mut bytes = vec![2, 0, 1, 1, 1, 0xff, 0xff, 3];
    bytes.resize(8 + 65_535, 1);
    assert!(decode(&bytes).is_none());
}

#[test]
fn damaged_blobs_do_not_panic_and_what_they_give_ascends() {
    let mut random = Random(11);
    let index = OrderedIndex::new();
    for shape in SHAPES {
        (0..30).for_each(|_| {
            index.insert(&key_of_shape(shape, random.below(1_000)), 1);
        });
    }
    let mut blobs = image_of(&index);
    blobs.push((0..500).map(|_| random.next() as u8 % 4).collect());
    for _ in 0..20_000 {
        let mut bytes = blobs[random.below(blobs.len())].clone();
        for _ in 0..1 + random.below(3) {
            let at = random.below(bytes.len().min(4_000));
            bytes[at] = random.next() as u8;
        }
        if random.below(4) == 0 {
            bytes.truncate(random.below(bytes.len()));
        }
        if let Some(keys) = OrderedIndex::decode_leaf(&bytes) {
            assert!(keys.iter().all(|key| (1..=KEY_BYTES_MAX).contains(&key.len())));
            assert!(keys.iter().zip(keys.iter().skip(1)).all(|(key, next)| key < next));
            assert_eq!(OrderedIndex::from_sorted(keys.iter()).unwrap().len(), keys.len() as u64);
        }
    }
}

#[test]
fn lists_of_keys_give_what_was_pushed() {
    let mut keys = Keys::new();
    assert!(keys.is_empty() && keys.get(0).is_none() && keys.last().is_none());
    keys.push(b"one");
    keys.push(b"");
    keys.push(b"three");
    assert!(keys.iter().eq([&b"one"[..], b"", b"three"]));
    assert!(keys.iter().rev().eq([&b"three"[..], b"", b"one"]));
    assert_eq!(
        (keys.len(), keys.get(1), keys.get(2), keys.get(3)),
        (3, Some(&b""[..]), Some(&b"three"[..]), None)
    );
    keys.clear();
    assert_eq!((keys.len(), keys.last()), (0, None));
}

/// Key number `number` of a writer, or of those that nobody changes.
fn shared_key(number: u64, owner: u8) -> Vec<u8> {
    let mut key = Random(number % 3_000).next().to_be_bytes()[..3].to_vec();
    key.extend_from_slice(&(number % 3_000).to_be_bytes());
    key.push(owner);
    key
}

const NOBODY: u8 = 0;
const EVERYBODY: u8 = 9;

/// Grows and shrinks: keys of its own, of which it knows what must become of them, and keys that all change.
fn write_for_a_while(index: &OrderedIndex, owner: u8) -> Model {
    let mut random = Random(u64::from(owner));
    let mut own = Model::new();
    for round in 0..60_000u64 {
        let grows = round / 6_000 % 2 == 0;
        let key = shared_key(random.next(), owner);
        if random.below(4) == 0 {
            let key = shared_key(random.next(), EVERYBODY);
            match random.below(4) {
                0 => index.make_ghost(&key),
                1 => index.remove_ghost(&key),
                2 => index.remove(&key),
                _ => index.insert(&key, round),
            };
        }
        if random.below(8) == 0 {
            assert_eq!(index.make_ghost(&key), own.get(&key) == Some(&false));
            own.entry(key).and_modify(|is_ghost| *is_ghost = true);
        } else if grows == (random.below(10) != 0) {
            assert_eq!(index.insert(&key, round), own.insert(key, false) != Some(false));
        } else {
            assert_eq!(index.remove(&key), own.remove(&key).is_some());
        }
    }
    own
}

/// The keys that nobody changes must be seen once each, and everything in order.
fn check_one_walk(index: &OrderedIndex, walk: usize, still: &[Vec<u8>]) {
    let mut keys = Keys::new();
    match walk % 3 {
        0 => index.forward(Bound::Unbounded, Bound::Unbounded, usize::MAX, &mut keys),
        1 => index.backward(Bound::Unbounded, Bound::Unbounded, usize::MAX, &mut keys),
        _ => image_of(index).iter().for_each(|blob| {
            let leaf = OrderedIndex::decode_leaf(blob).unwrap();
            leaf.iter().for_each(|key| keys.push(key));
        }),
    }
    let mut seen: Vec<_> = keys.iter().collect();
    if walk % 3 == 1 {
        seen.reverse();
    }
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "out of order in walk {walk}");
    assert!(seen.into_iter().filter(|key| key.last() == Some(&NOBODY)).eq(still.iter()), "walk {walk}");
}

#[test]
fn walks_among_writers_see_each_key_that_stays_once_and_in_order() {
    let index = OrderedIndex::new();
    let mut still: Vec<_> = (0..3_000).map(|number| shared_key(number, NOBODY)).collect();
    still.sort();
    still.iter().for_each(|key| assert!(index.insert(key, 1)));
    let is_over = AtomicBool::new(false);
    let mut model: Model = std::thread::scope(|scope| {
        let writers: Vec<_> = (1..4)
            .map(|owner| {
                let index = &index;
                scope.spawn(move || write_for_a_while(index, owner))
            })
            .collect();
        let readers: Vec<_> = (0..2)
            .map(|reader| {
                let (index, still, is_over) = (&index, &still, &is_over);
                scope.spawn(move || {
                    let mut walk = reader;
                    while !is_over.load(Ordering::Relaxed) {
                        check_one_walk(index, walk, still);
                        walk += 1;
                    }
                    assert!(walk > reader + 3);
                })
            })
            .collect();
        let own: Vec<_> = writers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        is_over.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        own.into_iter().flat_map(Result::unwrap).collect()
    });
    model.extend(still.into_iter().map(|key| (key, false)));
    // Of the keys that all have changed, what there is is what there is.
    for key in &walked(&index, Bound::Unbounded, Bound::Unbounded, usize::MAX)[0] {
        if key.last() == Some(&EVERYBODY) {
            let directory = index.directory.read();
            let leaf = covering(&directory, key).1.leaf.read();
            let is_ghost = leaf.is_ghost(leaf.search(key).unwrap());
            model.insert(key.clone(), is_ghost);
        }
    }
    check_structure(&index, &model);
}

/// Whoever sees a key must be told of its insertion.
#[test]
fn insertions_among_writers_are_told() {
    let index = OrderedIndex::new();
    std::thread::scope(|scope| {
        for owner in 1..3u8 {
            let index = &index;
            scope.spawn(move || {
                for round in 1..40_000u64 {
                    let key = shared_key(round.wrapping_mul(7), owner);
                    assert!(index.insert(&key, round));
                    let bound = Bound::Included(&key[..]);
                    assert!(index.inserted_since(bound, bound, round - 1));
                    assert!(index.inserted_since(Bound::Unbounded, bound, round - 1));
                    // Joins hand the number on.
                    let old = shared_key(round.wrapping_mul(7).wrapping_sub(7 * 50), owner);
                    index.remove(&old);
                    index.remove(&key);
                    assert!(index.inserted_since(bound, Bound::Unbounded, round - 1));
                }
            });
        }
    });
}

/// The memory of this process that is not a file's, in bytes.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn time(name: &str, operations: usize, work: impl FnOnce()) {
    let start = Instant::now();
    work();
    println!("  {name:<28} {:>7.1} ns", start.elapsed().as_nanos() as f64 / operations as f64);
}

fn walk(index: &OrderedIndex, step: usize) -> usize {
    let (mut keys, mut count) = (Keys::new(), 0);
    index.forward(Bound::Unbounded, Bound::Unbounded, step, &mut keys);
    while let Some(last) = keys.last() {
        count += keys.iter().map(|key| usize::from(!key.is_empty())).sum::<usize>();
        let last = last.to_vec();
        keys.clear();
        index.forward(Bound::Excluded(&last), Bound::Unbounded, step, &mut keys);
    }
    count
}

fn figures_of(name: &str, keys: &[Vec<u8>]) {
    let key_bytes = keys.iter().map(Vec::len).sum::<usize>() as u64;
    let count = keys.len();
    let per_key = |bytes: u64| (bytes as f64 - key_bytes as f64) / count as f64;
    println!("{name}: {count} keys of {} bytes", key_bytes / count as u64);
    let before = resident_bytes();
    let index = OrderedIndex::new();
    let mut slowest = 0;
    time("insert", count, || {
        for (sequence, key) in keys.iter().enumerate() {
            index.insert(key, sequence as u64);
        }
    });
    println!(
        "  above the key bytes: {:.1} bytes a key by bytes(), {:.1} resident; {} leaves",
        per_key(index.bytes()),
        per_key(resident_bytes() - before),
        index.directory.read().len()
    );
    time("insert again", count, || keys.iter().for_each(|key| assert!(!index.insert(key, 0))));
    time("forward, 100 a call, a key", count, || assert_eq!(walk(&index, 100), count));
    time("forward, 4096 a call, a key", count, || assert_eq!(walk(&index, 4096), count));
    let mut all = Keys::new();
    index.forward(Bound::Unbounded, Bound::Unbounded, usize::MAX, &mut all);
    all.clear();
    time("forward, all at once, a key", count, || {
        index.forward(Bound::Unbounded, Bound::Unbounded, usize::MAX, &mut all);
    });
    let sorted = all.clone();
    all.clear();
    time("backward, all at once, a key", count, || {
        index.backward(Bound::Unbounded, Bound::Unbounded, usize::MAX, &mut all);
    });
    let mut short = Keys::new();
    time("forward, 10 keys, a call", count, || {
        for key in keys {
            short.clear();
            index.forward(Bound::Included(key), Bound::Unbounded, 10, &mut short);
        }
    });
    time("inserted_since, a key", count, || {
        for key in keys {
            let bound = Bound::Included(&key[..]);
            assert!(!index.inserted_since(bound, bound, count as u64 - 1));
        }
    });
    index.newest.fetch_add(count as u64, Ordering::Relaxed);
    time("inserted_since, all, a call", 1, || {
        assert!(!index.inserted_since(Bound::Unbounded, Bound::Unbounded, count as u64));
    });
    let mut blobs = Vec::new();
    let mut ends = Vec::new();
    time("encode, a key", count, || {
        let mut from = None;
        loop {
            from = index.encode_leaf(from.as_deref(), &mut blobs);
            ends.push(blobs.len());
            if from.is_none() {
                break;
            }
        }
    });
    println!("  images: {:.1} bytes a key", blobs.len() as f64 / count as f64);
    let mut builder = OrderedBuilder::new();
    time("decode and build, a key", count, || {
        let mut start = 0;
        for end in &ends {
            assert!(builder.push_all(&OrderedIndex::decode_leaf(&blobs[start..*end]).unwrap()));
            start = *end;
        }
    });
    drop(builder);
    let built = OrderedIndex::from_sorted(sorted.iter()).unwrap();
    println!(
        "  built: {:.1} bytes a key by bytes(); {} leaves",
        per_key(built.bytes()),
        built.directory.read().len()
    );
    let mut slow = |index: &OrderedIndex, key: &[u8]| {
        let start = Instant::now();
        index.insert(key, 0);
        slowest = slowest.max(start.elapsed().as_nanos());
    };
    let again = OrderedIndex::new();
    keys.iter().for_each(|key| slow(&again, key));
    println!("  slowest insert: {:.1} us", slowest as f64 / 1e3);
    time("remove", count, || keys.iter().for_each(|key| assert!(index.remove(key))));
    println!("  left: {} bytes, {} leaves", index.bytes(), index.directory.read().len());
}

/// `ATOMKV_KEYS` says how many keys, a million if it is not set.
/// `cargo test --release -p atomkv-engine --lib -- --ignored --nocapture index::ordered::tests::figures`
#[test]
#[ignore = "a measurement"]
fn figures() {
    let count = std::env::var("ATOMKV_KEYS").map_or(1_000_000, |count| count.parse().unwrap());
    let mut random = Random(1);
    let keys: Vec<_> = (0..count)
        .map(|_| [random.next(), random.next(), random.next()].map(u64::to_be_bytes).concat())
        .collect();
    figures_of("random", &keys);
    let mut keys: Vec<_> = (0..count).map(|number| format!("customer:{number:015}").into_bytes()).collect();
    figures_of("ascending", &keys);
    keys.reverse();
    figures_of("descending", &keys);
    for at in (1..keys.len()).rev() {
        keys.swap(at, random.below(at + 1));
    }
    figures_of("shuffled numbers", &keys);
    let keys: Vec<_> = (0..count)
        .map(|number| format!("tenant:{:05}/{number:011}", random.below(1000)).into_bytes())
        .collect();
    figures_of("a thousand ascending streams", &keys);
}
