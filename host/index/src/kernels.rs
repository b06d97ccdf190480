//! Dot products of 8-bit vectors, with one kernel per instruction set. Holds all `unsafe` code of
//! this crate.
//!
//! All kernels compute the same integers, so the choice of kernel affects speed but never a
//! result. A scan of 100,000 vectors was measured to be limited by memory bandwidth, hence the
//! simple loops: one row at a time, without manual unrolling.
//!
//! Not `pulp`: version 0.22 does not wrap `vpdpbusd`, so the fastest kernel would stay `unsafe`.
#![expect(unsafe_code, reason = "SIMD loads, and calls of functions that need a processor feature")]

/// Values in one block: one AVX-512 register, one cache line.
pub(crate) const BLOCK: usize = 64;

/// A piece of an 8-bit vector. Its values must lie in -127..=127: the sums of the AVX2 kernel are
/// wrong otherwise (but still safe), see [`avx2`].
#[repr(align(64))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block(pub(crate) [i8; BLOCK]);

/// An 8-bit vector, padded with zeros to whole blocks, with the sum of its values.
#[derive(Debug)]
pub(crate) struct Codes {
    blocks: Vec<Block>,
    sum: i32,
}

impl Codes {
    pub(crate) fn new(blocks: Vec<Block>) -> Self {
        let sum = blocks.iter().flat_map(|block| block.0).map(i32::from).sum();
        Self { blocks, sum }
    }

    pub(crate) fn blocks(&self) -> &[Block] {
        &self.blocks
    }
}

/// A kernel that this CPU supports. Only [`Kernel::available`] creates one, after it detected the
/// instructions, so a value is proof that they exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kernel(Level);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
}

impl Kernel {
    /// The fastest kernel for this CPU.
    pub(crate) fn best() -> Self {
        Self::available().pop().unwrap_or(Self(Level::Portable))
    }

    /// All kernels for this CPU, slowest first.
    pub(crate) fn available() -> Vec<Self> {
        let mut kernels = vec![Self(Level::Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") {
                kernels.push(Self(Level::Avx2));
            }
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni") {
                kernels.push(Self(Level::Avx512Vnni));
            }
        }
        kernels
    }

    /// Computes the dot products of `query` with each of `rows`, which lie end to end and have the
    /// length of `query`.
    ///
    /// # Panics
    /// Panics if `query` is empty or `rows` does not hold exactly `products.len()` rows.
    pub(crate) fn multiply(self, query: &Codes, rows: &[Block], products: &mut [i32]) {
        let blocks = query.blocks.as_slice();
        assert!(!blocks.is_empty() && rows.len() == blocks.len() * products.len());
        match self.0 {
            Level::Portable => portable(blocks, rows, products),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` detected the feature before it created this kernel.
            Level::Avx2 => unsafe { avx2(blocks, rows, products) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` detected the features before it created this kernel.
            Level::Avx512Vnni => unsafe { avx512_vnni(query, rows, products) },
        }
    }
}

/// The compiler turns this into widening multiply-adds (`pmaddwd`, `smlal`).
fn portable(query: &[Block], rows: &[Block], products: &mut [i32]) {
    for (row, product) in rows.chunks_exact(query.len()).zip(products) {
        *product = row.iter().zip(query).map(|(v, q)| portable_block(v, q)).sum();
    }
}

fn portable_block(v: &Block, q: &Block) -> i32 {
    v.0.iter().zip(&q.0).map(|(&v, &q)| i32::from(v) * i32::from(q)).sum()
}

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// One operand of `vpmaddubsw` is unsigned, so the sign of `v` moves to `q`. Its sums of two
/// products saturate at 32,767, which 2 * 127 * 127 = 32,258 does not reach.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2(query: &[Block], rows: &[Block], products: &mut [i32]) {
    let ones = _mm256_set1_epi16(1);
    for (row, product) in rows.chunks_exact(query.len()).zip(products) {
        let mut sum = _mm256_setzero_si256();
        for (v, q) in row.iter().zip(query) {
            for (v, q) in load_halves(v).into_iter().zip(load_halves(q)) {
                let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(v), _mm256_sign_epi8(q, v));
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
            }
        }
        *product = sum_lanes(sum);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn load_halves(block: &Block) -> [__m256i; 2] {
    let start = block.0.as_ptr();
    // SAFETY: a block has 64 bytes and is aligned to 64, so both halves lie inside it and are
    // aligned to 32.
    unsafe { [_mm256_load_si256(start.cast()), _mm256_load_si256(start.add(32).cast())] }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sum_lanes(sum: __m256i) -> i32 {
    let four = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
    let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
    let one = _mm_add_epi32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two));
    _mm_cvtsi128_si32(one)
}

/// One operand of `vpdpbusd` is unsigned: flipping the top bit turns `v` into `v + 128`, and the
/// excess, 128 times the sum of `q` for every row, is subtracted at the end.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
fn avx512_vnni(query: &Codes, rows: &[Block], products: &mut [i32]) {
    let flip = _mm512_set1_epi8(-128);
    let excess = 128 * query.sum;
    for (row, product) in rows.chunks_exact(query.blocks.len()).zip(products) {
        let mut sum = _mm512_setzero_si512();
        for (v, q) in row.iter().zip(&query.blocks) {
            let raised = _mm512_xor_si512(load(v), flip);
            sum = _mm512_dpbusd_epi32(sum, raised, load(q));
        }
        *product = _mm512_reduce_add_epi32(sum) - excess;
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn load(block: &Block) -> __m512i {
    // SAFETY: a block has 64 bytes and is aligned to 64.
    unsafe { _mm512_load_si512(block.0.as_ptr().cast()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random_blocks(random: &mut fastrand::Rng, count: usize) -> Vec<Block> {
        (0..count).map(|_| Block(std::array::from_fn(|_| random.i8(-127..=127)))).collect()
    }

    fn products(kernel: Kernel, query: &[Block], rows: &[Block]) -> Vec<i32> {
        let mut products = vec![0; rows.len() / query.len()];
        kernel.multiply(&Codes::new(query.to_vec()), rows, &mut products);
        products
    }

    fn naive(query: &[Block], rows: &[Block]) -> Vec<i32> {
        let flat = |blocks: &[Block]| blocks.iter().flat_map(|b| b.0).collect::<Vec<_>>();
        let query = flat(query);
        let rows = flat(rows);
        let product = |row: &[i8]| {
            row.iter().zip(&query).map(|(&v, &q)| i64::from(v) * i64::from(q)).sum::<i64>() as i32
        };
        rows.chunks(query.len()).map(product).collect()
    }

    #[test]
    fn every_available_kernel_computes_the_same_products() {
        let mut random = fastrand::Rng::with_seed(1);
        for blocks in [1, 2, 5, 6, 17] {
            let query = random_blocks(&mut random, blocks);
            let rows = random_blocks(&mut random, blocks * 9);
            for kernel in Kernel::available() {
                assert_eq!(products(kernel, &query, &rows), naive(&query, &rows), "{kernel:?}");
            }
        }
    }

    #[test]
    fn every_available_kernel_is_right_at_the_ends_of_the_range() {
        let ends = [Block([127; BLOCK]), Block([-127; BLOCK]), Block([0; BLOCK])];
        for (v, q) in ends.iter().flat_map(|v| ends.iter().map(move |q| (v, q))) {
            let query = vec![*q; crate::limits::DIMENSIONS / BLOCK];
            let rows = vec![*v; query.len()];
            for kernel in Kernel::available() {
                assert_eq!(products(kernel, &query, &rows), naive(&query, &rows), "{kernel:?}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "rows.len()")]
    fn rows_of_another_length_are_refused() {
        let mut products = [0; 2];
        Kernel::best().multiply(
            &Codes::new(vec![Block([1; BLOCK])]),
            &[Block([1; BLOCK])],
            &mut products,
        );
    }
}
