//! Exact decimals of up to 18 digits, which is what FHIR asks of a decimal (R4 datatypes.html#decimal).

use std::cmp::Ordering;
use std::fmt;

/// `mantissa / 10^scale`, always in lowest terms, so equal numbers are equal structures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decimal {
    mantissa: i64,
    scale: u8,
}

const MAX_SCALE: u32 = 18;

impl Decimal {
    /// Reads JSON number syntax. `None` when it is no number or needs more than 18 digits.
    pub fn parse(text: &str) -> Option<Self> {
        let (digits, exponent) = match text.split_once(['e', 'E']) {
            Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let mut mantissa = 0i128;
        let mut scale = 0i32;
        let mut seen_point = false;
        let mut seen_digit = false;
        for byte in digits.trim_start_matches(['-', '+']).bytes() {
            match byte {
                b'0'..=b'9' => {
                    mantissa = mantissa.checked_mul(10)?.checked_add(i128::from(byte - b'0'))?;
                    scale += i32::from(seen_point);
                    seen_digit = true;
                }
                b'.' if !seen_point => seen_point = true,
                _ => return None,
            }
        }
        if !seen_digit {
            return None;
        }
        let sign = if digits.starts_with('-') { -1 } else { 1 };
        let scale = scale.checked_sub(exponent)?;
        match u32::try_from(scale) {
            Ok(scale) => Self::reduced(sign * mantissa, scale),
            Err(_) => Self::reduced((sign * mantissa).checked_mul(10i128.checked_pow(scale.unsigned_abs())?)?, 0),
        }
    }

    /// Brings a wide intermediate result back into range: exact if it can be, else rounded to 18 decimal places.
    fn reduced(mut mantissa: i128, mut scale: u32) -> Option<Self> {
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        while scale > 0 && (scale > MAX_SCALE || i64::try_from(mantissa).is_err()) {
            mantissa = (mantissa + 5 * mantissa.signum()) / 10;
            scale -= 1;
        }
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        Some(Self { mantissa: i64::try_from(mantissa).ok()?, scale: u8::try_from(scale).ok()? })
    }

    /// Both mantissas at the larger of the two scales.
    fn aligned(self, other: Self) -> (i128, i128, u32) {
        let scale = self.scale.max(other.scale);
        let widen = |n: Self| i128::from(n.mantissa) * 10i128.pow(u32::from(scale - n.scale));
        (widen(self), widen(other), u32::from(scale))
    }

    pub fn checked_add(self, other: Self) -> Option<Self> {
        let (left, right, scale) = self.aligned(other);
        Self::reduced(left.checked_add(right)?, scale)
    }

    pub fn checked_mul(self, other: Self) -> Option<Self> {
        let product = i128::from(self.mantissa).checked_mul(i128::from(other.mantissa))?;
        Self::reduced(product, u32::from(self.scale) + u32::from(other.scale))
    }

    /// Division to 12 decimal places; FHIRPath asks for at least 8. `None` for a division by zero.
    pub fn checked_div(self, other: Self) -> Option<Self> {
        const PLACES: u32 = 12;
        let (left, right, _) = self.aligned(other);
        Self::reduced(left.checked_mul(10i128.pow(PLACES))?.checked_div(right)?, PLACES)
    }

    /// Truncated division, FHIRPath `div`.
    pub fn whole_div(self, other: Self) -> Option<Self> {
        let (left, right, _) = self.aligned(other);
        Self::reduced(left.checked_div(right)?, 0)
    }

    /// What `whole_div` leaves over, FHIRPath `mod`.
    pub fn remainder(self, other: Self) -> Option<Self> {
        let (left, right, scale) = self.aligned(other);
        Self::reduced(left.checked_rem(right)?, scale)
    }

    pub fn negated(self) -> Option<Self> {
        Some(Self { mantissa: self.mantissa.checked_neg()?, ..self })
    }

    /// The value, if it is a whole number.
    pub fn as_integer(self) -> Option<i64> {
        (self.scale == 0).then_some(self.mantissa)
    }
}

impl From<usize> for Decimal {
    /// Saturates at `i64::MAX`, which no count of elements reaches.
    fn from(n: usize) -> Self {
        Self { mantissa: i64::try_from(n).unwrap_or(i64::MAX), scale: 0 }
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let (left, right, _) = self.aligned(*other);
        left.cmp(&right)
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.mantissa < 0 { "-" } else { "" };
        let unit = 10u64.pow(u32::from(self.scale).min(MAX_SCALE));
        let digits = self.mantissa.unsigned_abs();
        match usize::from(self.scale) {
            0 => write!(f, "{sign}{digits}"),
            places => write!(f, "{sign}{}.{:0places$}", digits / unit, digits % unit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_is_exact() {
        let n = |text: &str| Decimal::parse(text).unwrap();
        let check = |got: Option<Decimal>, want: &str| assert_eq!(got.map(|n| n.to_string()).as_deref(), Some(want));
        check(n("0.1").checked_add(n("0.2")), "0.3");
        check(n("-1.50").checked_mul(n("2")), "-3");
        check(n("1").checked_div(n("8")), "0.125");
        check(n("-7").whole_div(n("2")), "-3");
        check(n("7.5").remainder(n("2")), "1.5");
        check(Decimal::parse("1.5e3"), "1500");
        check(Decimal::parse("-0.05"), "-0.05");
        check(Decimal::parse("15e-1"), "1.5");
        check(Decimal::parse("999999999999999999.999999999"), "1000000000000000000");
        assert_eq!(n("1.0"), n("1"));
        assert!(n("1.9") < n("1.10").checked_add(n("1")).unwrap());
        assert_eq!(n("1").checked_div(n("0")), None);
        for bad in ["", "-", "1.2.3", "x", "1e99", "99999999999999999999"] {
            assert_eq!(Decimal::parse(bad), None, "{bad}");
        }
    }
}
