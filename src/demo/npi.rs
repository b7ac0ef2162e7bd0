//! National provider identifiers: ten digits, the last a check digit.

/// Individuals take the lower half of the nine-digit numbers starting with 1, organizations the upper half.
const HALF: u64 = 50_000_000;
/// Shares no factor with 10^8, so multiplying by it shuffles the eight free digits without meeting any twice.
const SHUFFLE: u64 = 48_271_357;

/// The check digit for nine NPI digits: Luhn over them with the prefix 80840 (issuer and country, CMS rules for the
/// NPI check digit), whose share of the sum is the constant 24.
#[must_use]
pub const fn npi_check_digit(base9: u64) -> u64 {
    let (mut rest, mut sum, mut double) = (base9, 24, true);
    while rest > 0 {
        let digit = rest % 10;
        sum += match (double, digit) {
            (false, _) => digit,
            (true, 0..5) => digit * 2,
            (true, _) => digit * 2 - 9,
        };
        double = !double;
        rest /= 10;
    }
    (10 - sum % 10) % 10
}

/// The NPI of practitioner number `index`.
pub(super) fn individual(seed: u64, index: usize) -> String {
    shuffled(seed, index as u64 % HALF)
}

/// The NPI of organization number `index`.
pub(super) fn organization(seed: u64, index: usize) -> String {
    shuffled(seed, HALF + index as u64 % HALF)
}

fn shuffled(seed: u64, number: u64) -> String {
    let free = (number * SHUFFLE + seed % (2 * HALF)) % (2 * HALF);
    let base9 = 100_000_000 + free;
    format!("{base9}{}", npi_check_digit(base9))
}

#[cfg(test)]
mod tests {
    use super::npi_check_digit;

    #[test]
    fn gives_the_check_digit_of_the_worked_example() {
        // CMS, "Requirements for NPI and NPI check digit": 123456789 takes the digit 3.
        assert_eq!(npi_check_digit(123_456_789), 3);
        // From the Plan-Net example Organization/Hospital.
        assert_eq!(npi_check_digit(140_707_123), 6);
    }
}
