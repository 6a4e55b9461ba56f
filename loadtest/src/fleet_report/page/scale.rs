//! Axes: where values lie, which of them are named, and how.

/// About so many values are named on an axis.
const TICKS: f64 = 4.0;

/// From values to the height of a plot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// From 0.
    Linear { top: f64 },
    /// Between two powers of ten.
    Logarithmic { bottom: f64, top: f64 },
}

impl Scale {
    /// Holds all of them.
    pub fn linear(values: impl Iterator<Item = f64>) -> Self {
        let largest = values.fold(0.0, f64::max);
        let range = if largest > 0.0 { largest } else { 1.0 };
        let step = nice_step(range);
        Self::Linear { top: (range / step).ceil() * step }
    }

    /// Holds all of them; what is not above 0 is left out.
    pub fn logarithmic(values: impl Iterator<Item = f64> + Clone) -> Self {
        let positive = values.filter(|value| *value > 0.0);
        let least = positive.clone().fold(f64::INFINITY, f64::min);
        let most = positive.fold(0.0, f64::max);
        if most == 0.0 {
            return Self::Logarithmic { bottom: 1.0, top: 10.0 };
        }
        let (bottom, top) = (10_f64.powf(least.log10().floor()), 10_f64.powf(most.log10().ceil()));
        Self::Logarithmic { bottom, top: if top > bottom { top } else { bottom * 10.0 } }
    }

    /// Where a value lies: 0 at the bottom, 1 at the top.
    pub fn place(self, value: f64) -> f64 {
        let place = match self {
            Self::Linear { top } => value / top,
            Self::Logarithmic { bottom, top } => (value.max(bottom) / bottom).log10() / (top / bottom).log10(),
        };
        place.clamp(0.0, 1.0)
    }

    /// Values that are named.
    pub fn ticks(self) -> Vec<f64> {
        match self {
            Self::Linear { top } => {
                let step = nice_step(top);
                (0..=(top / step).round() as u32).map(|number| f64::from(number) * step).collect()
            }
            Self::Logarithmic { bottom, top } => {
                let decades = (top / bottom).log10().round() as i32;
                (0..=decades).map(|decade| bottom * 10_f64.powi(decade)).collect()
            }
        }
    }
}

/// 1, 2 or 5 times a power of ten, so that a range has a few of them.
fn nice_step(range: f64) -> f64 {
    let rough = range / TICKS;
    let power = 10_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= rough * 0.999).unwrap_or(10.0);
    factor * power
}

/// Moments that are named on an axis of so many seconds.
pub fn time_ticks(seconds: f64) -> Vec<f64> {
    const STEPS: [f64; 15] =
        [1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 21_600.0, 86_400.0];
    let step = STEPS.into_iter().find(|step| seconds / step <= 8.0).unwrap_or(86_400.0);
    (0..=(seconds / step) as u32).map(|number| f64::from(number) * step).collect()
}

/// A moment of the run: minutes and seconds.
pub fn moment(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// A number with as many digits as say something.
pub fn number(value: f64) -> String {
    match value {
        value if value >= 10_000.0 => grouped(value.round() as u64),
        value if value >= 100.0 || value.fract() == 0.0 => grouped(value.round() as u64),
        value if value >= 10.0 => trimmed(format!("{value:.1}")),
        value if value >= 0.1 => trimmed(format!("{value:.2}")),
        value => trimmed(format!("{value:.4}")),
    }
}

/// A duration in the unit that suits it.
pub fn milliseconds(value: f64) -> String {
    if value >= 1000.0 { format!("{} s", number(value / 1000.0)) } else { format!("{} ms", number(value)) }
}

/// Thousands are set apart.
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn trimmed(text: String) -> String {
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_axis_holds_its_values_and_names_round_ones() {
        for (values, top, ticks) in [
            (vec![0.0, 37.0], 40.0, vec![0.0, 10.0, 20.0, 30.0, 40.0]),
            (vec![5000.0], 6000.0, vec![0.0, 2000.0, 4000.0, 6000.0]),
            (vec![], 1.0, vec![0.0, 0.5, 1.0]),
        ] {
            let scale = Scale::linear(values.into_iter());
            assert_eq!((scale, scale.ticks()), (Scale::Linear { top }, ticks));
            assert_eq!((scale.place(0.0), scale.place(top), scale.place(top * 2.0)), (0.0, 1.0, 1.0));
        }
    }

    #[test]
    fn a_logarithmic_axis_goes_by_powers_of_ten() {
        let scale = Scale::logarithmic([0.0, 3.0, 450.0].into_iter());
        assert_eq!(scale, Scale::Logarithmic { bottom: 1.0, top: 1000.0 });
        assert_eq!(scale.ticks(), [1.0, 10.0, 100.0, 1000.0]);
        assert!((scale.place(10.0) - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!(scale.place(0.0), 0.0);
        assert_eq!(Scale::logarithmic([10.0].into_iter()).ticks(), [10.0, 100.0]);
        assert_eq!(Scale::logarithmic(std::iter::empty()).ticks(), [1.0, 10.0]);
    }

    #[test]
    fn people_can_read_the_numbers() {
        for (value, text) in
            [(0.0, "0"), (0.05, "0.05"), (0.5, "0.5"), (12.34, "12.3"), (250.0, "250"), (1234567.8, "1,234,568")]
        {
            assert_eq!(number(value), text);
        }
        assert_eq!((milliseconds(2.5), milliseconds(2500.0)), ("2.5 ms".to_owned(), "2.5 s".to_owned()));
        assert_eq!((moment(0.0), moment(75.0), moment(3675.0)), ("0:00".into(), "1:15".into(), "1:01:15".into()));
        assert_eq!(time_ticks(360.0), [0.0, 60.0, 120.0, 180.0, 240.0, 300.0, 360.0]);
    }
}
