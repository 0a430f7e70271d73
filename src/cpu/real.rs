//! The scalar the backend is generic over.

use std::fmt::Debug;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

/// f32 or f64.
pub trait Real:
    Copy
    + Default
    + Debug
    + PartialOrd
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + Sum
{
    const ZERO: Self;
    const ONE: Self;
    const NEG_INFINITY: Self;
    const NAN: Self;
    const NAME: &'static str;

    fn of(x: f64) -> Self;
    fn of_f32(x: f32) -> Self;
    fn f64(self) -> f64;
    fn f32(self) -> f32;
    fn exp(self) -> Self;
    fn ln(self) -> Self;
    fn sqrt(self) -> Self;
    /// Exponent bits not all ones.
    fn finite(self) -> bool;

    fn max_of(self, other: Self) -> Self {
        if other > self { other } else { self }
    }
    /// The value of a bf16 bit pattern.
    fn of_bf16(bits: u16) -> Self {
        Self::of_f32(f32::from_bits(u32::from(bits) << 16))
    }
}

macro_rules! real {
    ($f:ident, $exponent:expr) => {
        impl Real for $f {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const NEG_INFINITY: Self = $f::NEG_INFINITY;
            const NAN: Self = $f::NAN;
            const NAME: &'static str = stringify!($f);

            fn of(x: f64) -> Self {
                x as $f
            }
            fn of_f32(x: f32) -> Self {
                x as $f
            }
            fn f64(self) -> f64 {
                self as f64
            }
            fn f32(self) -> f32 {
                self as f32
            }
            fn exp(self) -> Self {
                $f::exp(self)
            }
            fn ln(self) -> Self {
                $f::ln(self)
            }
            fn sqrt(self) -> Self {
                $f::sqrt(self)
            }
            fn finite(self) -> bool {
                self.to_bits() & $exponent != $exponent
            }
        }
    };
}

real!(f32, 0x7f80_0000);
real!(f64, 0x7ff0_0000_0000_0000);
