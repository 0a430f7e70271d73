//! Functions of whole registers, and the glue around them.

use pulp::Simd;

/// Defines a function whose body is compiled for each set of vector instructions and chosen when it is called. `S` is
/// the instruction set and `simd` its token; reference types are written with the lifetime `'a`.
macro_rules! vectorized {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($simd:ident: $S:ident $(, $arg:ident: $ty:ty)* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name<'a>(arch: pulp::Arch $(, $arg: $ty)*) $(-> $ret)? {
            struct Call<'a> {
                $($arg: $ty,)*
                lifetime: std::marker::PhantomData<&'a ()>,
            }
            impl pulp::WithSimd for Call<'_> {
                type Output = vectorized!(@ret $($ret)?);
                #[inline(always)]
                fn with_simd<$S: pulp::Simd>(self, $simd: $S) -> Self::Output {
                    let Self { $($arg,)* lifetime: _ } = self;
                    $body
                }
            }
            arch.dispatch(Call { $($arg,)* lifetime: std::marker::PhantomData })
        }
    };
    (@ret $ret:ty) => { $ret };
    (@ret) => { () };
}
pub(super) use vectorized;

/// `exp(x)` to about one unit in the last place; 0 below -87.3 (where the result would not be a normal number), the
/// largest finite result above 88.3, NaN for NaN. Range reduction and polynomial of Cephes' expf (Moshier).
#[inline(always)]
pub fn exp<S: Simd>(s: S, x: S::f32s) -> S::f32s {
    const LOW: f32 = -87.336_54;
    const HIGH: f32 = 88.376_25;
    // Adding 1.5 * 2^23 rounds to an integer, which is then in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let too_low = s.less_than_f32s(x, s.splat_f32s(LOW));
    let x = s.select_f32s(s.greater_than_f32s(x, s.splat_f32s(HIGH)), s.splat_f32s(HIGH), x);
    let shifted = s.mul_add_e_f32s(x, s.splat_f32s(std::f32::consts::LOG2_E), s.splat_f32s(ROUND));
    let n = s.sub_f32s(shifted, s.splat_f32s(ROUND));
    let r = s.mul_add_e_f32s(n, s.splat_f32s(-0.693_359_4), x);
    let r = s.mul_add_e_f32s(n, s.splat_f32s(2.121_944_4e-4), r);
    let mut p = s.splat_f32s(1.987_569_1e-4);
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = s.mul_add_e_f32s(p, r, s.splat_f32s(c));
    }
    let p = s.mul_add_e_f32s(s.mul_f32s(r, r), p, s.add_f32s(r, s.splat_f32s(1.0)));
    let exponent = s.wrapping_dyn_shl_u32s(s.transmute_u32s_f32s(shifted), s.splat_u32s(23));
    let scale = s.transmute_f32s_u32s(s.add_u32s(exponent, s.splat_u32s(1.0f32.to_bits())));
    s.select_f32s(too_low, s.splat_f32s(0.0), s.mul_f32s(p, scale))
}

/// `1 / (1 + exp(-x))`.
#[inline(always)]
pub fn sigmoid<S: Simd>(s: S, x: S::f32s) -> S::f32s {
    let one = s.splat_f32s(1.0);
    s.div_f32s(one, s.add_f32s(one, exp(s, s.neg_f32s(x))))
}

/// `Σ a b` in an order that depends on the length alone: four accumulators in turn, then a tree.
#[inline(always)]
pub fn dot<S: Simd>(s: S, a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_tail), (b, b_tail)) = (S::as_simd_f32s(a), S::as_simd_f32s(b));
    let mut acc = [s.splat_f32s(0.0); 4];
    let (a_fours, b_fours) = (a.chunks_exact(4), b.chunks_exact(4));
    let rest = a_fours.remainder().iter().zip(b_fours.remainder());
    for (a, b) in a_fours.zip(b_fours) {
        for i in 0..4 {
            acc[i] = s.mul_add_e_f32s(a[i], b[i], acc[i]);
        }
    }
    for (acc, (&a, &b)) in acc.iter_mut().zip(rest) {
        *acc = s.mul_add_e_f32s(a, b, *acc);
    }
    acc[3] = s.mul_add_e_f32s(s.partial_load_f32s(a_tail), s.partial_load_f32s(b_tail), acc[3]);
    s.reduce_sum_f32s(s.add_f32s(s.add_f32s(acc[0], acc[1]), s.add_f32s(acc[2], acc[3])))
}
