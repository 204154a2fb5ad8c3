"""CSV files of prices: what is read, what is treated, what is refused."""

import numpy as np
import pytest

from experiments.common.errors import InputError
from experiments.stock_prediction.daily.files import read_prices

YAHOO = """Date,Open,High,Low,Close,Adj Close,Volume
2024-01-02,1,2,1,2.0,1.5,100
2024-01-03,1,2,1,2.2,1.6,100
2024-01-04,1,2,1,2.1,1.7,100
"""


@pytest.fixture
def read(tmp_path):
    def read_text(text):
        path = tmp_path / "prices.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_prices(path)

    return read_text


def rows(*lines):
    return "date,close\n" + "".join(f"{line}\n" for line in lines)


def test_the_adjusted_close_is_taken_where_there_is_one(read):
    found = read(YAHOO)
    (series,) = found.pieces
    assert series.name == "prices"
    np.testing.assert_array_equal(series.prices, [1.5, 1.6, 1.7])
    np.testing.assert_array_equal(
        series.dates, np.array(["2024-01-02", "2024-01-03", "2024-01-04"], "datetime64[D]")
    )
    assert found.notes == ()


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffDate,Close\n2024-01-02,1.5\n2024-01-03,1.6\n",
        "close;date\n1.5;2024-01-02\n1.6;2024-01-03\n",
        "day\tPrice\r\n20240102\t1.5\r\n20240103\t1.6\r\n\r\n",
        "Timestamp,Close/Last\n2024/01/02,$1.5\n2024/01/03,$1.6\n",
        'Date,Adj. Close\n"2024-01-02 00:00:00-05:00",1.5\n2024-01-03T16:00,1.6\n',
        "<TICKER>,<DATE>,<TIME>,<CLOSE>,<VOL>\nA,20240102,0,1.5,7\nA,20240103,0,1.6,7\n",
        "Price,Close,Volume\nTicker,A,A\nDate,,\n2024-01-02,1.5,7\n2024-01-03,1.6,7\n",
        ",Open,Close\n2024-1-2,1,1.5\n2024-1-3,1,1.6\n",
        "observation_date,SP500\n2024-01-01,.\n2024-01-02,1.5\n2024-01-03,1.6\n",
        "time,open,close\n1704205800,1,1.5\n1704292200,1,1.6\n",
        'Date,Close*\n"Jan 3, 2024",1.6\n"Jan 2, 2024",1.5\n',
        "date,close\n2-Jan-2024,1.5\n03-Jan-24,1.6\n",
    ],
)
def test_headers_and_separators_of_many_sources(read, text):
    (series,) = read(text).pieces
    np.testing.assert_array_equal(series.prices, [1.5, 1.6])
    assert series.dates[0] == np.datetime64("2024-01-02")


INVESTING = """"Date","Price","Open","High","Low","Vol.","Change %"
"{}","4,769.83","4,745.20","4,754.33","4,722.67","","0.30%"
"{}","997.50","4,725.07","4,729.29","4,699.71","","-0.34%"
"""


@pytest.mark.parametrize(
    ("dates", "note"),
    [
        (("01/13/2024", "01/12/2024"), "dates are read as month, day, year"),
        (("13/01/2024", "12/01/2024"), "dates are read as day, month, year"),
        (("13.1.2024", "12.1.2024 16:00:00"), "dates are read as day, month, year"),
    ],
)
def test_the_order_of_day_and_month_is_that_which_fits_all_rows(read, dates, note):
    found = read(INVESTING.format(*dates))
    (series,) = found.pieces
    assert series.dates.astype(str).tolist() == ["2024-01-12", "2024-01-13"]
    assert series.prices.tolist() == [997.5, 4769.83]
    assert note in found.notes
    assert "prices are read with a decimal point" in found.notes


def test_a_lone_column_of_another_name_is_the_price_and_said_so(read):
    found = read("DATE,DEXUSEU\n2024-01-02,1.5\n2024-01-03,1.6\n")
    assert found.pieces[0].prices.tolist() == [1.5, 1.6]
    assert found.notes == ("the column DEXUSEU is taken for the closing price",)


def test_a_decimal_comma_is_read_where_nothing_else_fits(read):
    found = read('date;close\n2024-01-02;"1,5"\n2024-01-03;2\n2024-01-04;"1.234,25"\n')
    assert found.pieces[0].prices.tolist() == [1.5, 2.0, 1234.25]
    assert "prices are read with a decimal comma" in found.notes


def test_a_missing_price_is_left_out_and_counted(read):
    found = read(rows("2024-01-02,1", "2024-01-03,", "2024-01-04,NaN", "2024-01-05,2"))
    np.testing.assert_array_equal(found.pieces[0].prices, [1, 2])
    assert found.notes[0] == "2 rows without a price left out"


def test_dates_out_of_order_are_sorted_and_said_so(read):
    found = read(rows("2024-01-04,3", "2024-01-03,2", "2024-01-02,1"))
    np.testing.assert_array_equal(found.pieces[0].prices, [1, 2, 3])
    assert "out of order" in found.notes[0]


def test_a_row_that_is_there_twice_is_kept_once(read):
    found = read(rows("2024-01-02,1", "2024-01-03,2", "2024-01-03,2", "2024-01-04,2.5"))
    np.testing.assert_array_equal(found.pieces[0].prices, [1, 2, 2.5])
    assert found.notes == ("1 row there twice, kept once",)


def test_weekends_are_no_gaps_and_gaps_cut(read):
    days = ["2024-01-05", "2024-01-08", "2024-01-18", "2024-02-02", "2024-02-03", "2024-02-04"]
    found = read(rows(*(f"{day},{i}" for i, day in enumerate(days, 1))))
    assert [piece.prices.tolist() for piece in found.pieces] == [[1, 2, 3], [4, 5, 6]]
    assert found.notes == (
        "cut at gaps of more than 14 days: 2024-01-18 to 2024-02-02",
        "1 step of more than 5 days, of which each is taken for one day's return; sound for "
        "holidays, not for missing days: 2024-01-08 to 2024-01-18",
    )


def weekdays(first, count):
    """Return so many days from a Monday on, Monday to Friday."""
    days = np.arange(count)
    return np.datetime64(first) + days // 5 * 7 + days % 5


def walk(days):
    """Return a row a day, with prices that tell the days apart."""
    return [f"{day},{100 + i % 7}" for i, day in enumerate(days)]


@pytest.mark.parametrize("order", [1, -1], ids=["rising", "falling"])
@pytest.mark.parametrize("days", [500, 6000])
def test_weekly_early_and_daily_later_is_refused(read, days, order):
    """However long the daily part is; what is weekly is there all the same."""
    weekly = np.datetime64("1999-01-04") + 7 * np.arange(52)
    rising = walk([*weekly, *weekdays("2000-01-03", days)])
    with pytest.raises(InputError) as caught:
        read(rows(*rising[::order]))
    message = str(caught.value)
    assert "prices.csv is not daily throughout: from 1999-01-04 to 2000-10-" in message
    assert "52 of 250 steps (20.8 %) are longer than 5 days, as from 1999-01-04" in message
    assert "cut off a part that is weekly" in message


def test_monthly_early_and_daily_later_is_refused(read):
    monthly = np.arange("1995-01", "2000-01", dtype="datetime64[M]").astype("datetime64[D]")
    with pytest.raises(InputError, match=r"60 of 250 steps \(24.0 %\)"):
        read(rows(*walk([*monthly, *weekdays("2000-01-03", 500)])))


@pytest.mark.parametrize(("holes", "is_refused"), [(12, False), (13, True)])
def test_holes_of_a_week_in_a_daily_file(read, holes, is_refused):
    days = weekdays("2000-01-03", 251 + 5 * holes)
    kept = days[(np.arange(len(days)) // 5 % 2 == 0) | (np.arange(len(days)) >= 10 * holes)]
    assert len(kept) == 251
    if is_refused:
        with pytest.raises(InputError, match=r"13 of 250 steps \(5.2 %\) are longer than 5 days"):
            read(rows(*walk(kept)))
    else:
        (note,) = read(rows(*walk(kept))).notes
        assert note.startswith("12 steps of more than 5 days")
        assert note.count(" to ") == 3


@pytest.mark.parametrize("order", ["rising", "falling", "shuffled"])
def test_long_holidays_are_kept_and_told(read, order):
    """Two weeks without trading in a year, as in Shanghai; a long weekend is not told."""
    days = weekdays("2020-01-06", 250)
    closed = [*days[15:20], *days[190:195], days[64], days[65]]  # Friday and Monday: Easter
    lines = walk(days[~np.isin(days, closed)])
    found = read(rows(*lines))
    assert found.notes == (
        "2 steps of more than 5 days, of which each is taken for one day's return; sound for "
        "holidays, not for missing days: 2020-01-24 to 2020-02-03, 2020-09-25 to 2020-10-05",
    )
    given = {
        "rising": lines,
        "falling": lines[::-1],
        "shuffled": list(np.random.default_rng(0).permutation(lines)),
    }[order]
    again = read(rows(*given))
    assert again.notes[order != "rising" :] == found.notes
    for one, other in zip(again.pieces[0][1:], found.pieces[0][1:], strict=True):
        np.testing.assert_array_equal(one, other)


def test_two_holidays_are_no_fault_of_a_short_file(read):
    """Of 30 steps, two are more than 5 %."""
    days = weekdays("2021-01-04", 41)
    found = read(rows(*walk([*days[:5], *days[10:30], *days[35:]])))
    assert len(found.notes) == 1
    assert found.notes[0].startswith("2 steps of more than 5 days")


def test_a_split_is_pointed_out(read):
    found = read(rows("2024-01-02,700", "2024-01-03,100", "2024-01-04,101"))
    assert len(found.notes) == 1
    assert "2024-01-03" in found.notes[0]
    assert "split" in found.notes[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no rows"),
        ("date,close\n", "has no rows"),
        (rows("2024-01-02,1"), "1 prices in the column close; a return needs two"),
        (rows("2024-01-02,", "2024-01-03,nan"), "0 prices in the column close"),
        (rows("2024-01-02," + "9" * 200_000, "2024-01-03,2"), "field larger than field limit"),
        ("close\n1\n2\n", "no column with a date"),
        ("date,volume\n2024-01-02,1\n", "no column with a closing price"),
        ("date,close,close\n2024-01-02,1,2\n2024-01-03,1,2\n", "close more than once"),
        (rows("2024-01-02,1", "2024-01-03,0"), "line 3: the price in the column close is 0, and"),
        (rows("2024-01-02,1", "2024-01-03,-4"), "column close is -4, and must be more than 0"),
        (rows("2024-01-02,1", "2024-01-03,inf"), "line 3: the price in the column close is 'inf'"),
        (rows("2024-01-02,1", "2024-01-03,1e999"), "column close is 1e999, and must be more"),
        (rows("2024-01-02,one", "2024-01-03,2"), "line 2: the price in the column close is 'one'"),
        (rows("2024-01-02,1.5", "2024-01-03,."), "1 prices in the column close; a return"),
        (rows("01/02/2024,1", "01/03/2024,2"), "line 2: the date is '01/02/2024': with day, month"),
        (rows("13/01/2024,1", "01/14/2024,2"), "line 3: the date is '01/14/2024', which is none"),
        (rows("2024-01-13,1", "01/14/2024,2"), "line 2: the date is '2024-01-13', which is none"),
        (rows("1-Jam-2024,1", "2-Jan-2024,2"), "line 2: the date is '1-Jam-2024'"),
        (rows('2024-01-02,"1,500"', '2024-01-03,"1,510"'), "'1,500': with a decimal point or"),
        (rows('2024-01-02,"1,5"', "2024-01-03,1.6"), "line 3: the price in the column close is '1"),
        (rows("2024-02-30,1", "2024-03-01,2"), "line 2: the date is '2024-02-30'"),
        (rows(",1", "2024-01-03,2"), "line 2: the date is ''"),
        (rows("2024-01-02,1", "2024-01-03,1,5"), "line 3: 3 values for 2 columns"),
        (rows("2024-01-02,1", "2024-01-02,2"), "two prices for 2024-01-02: 1 and 2"),
        (rows("2024-01-01,1", "2024-01-08,2", "2024-01-15,3"), "7 days apart; give daily"),
        (rows("2024-01-01,3", "2024-01-02,3", "2024-01-03,3"), "never moves"),
        (rows("2024-01-01,3", "2024-01-01,3"), "never moves"),
        (b"date,close\n2024-01-02,\xff\n", "not UTF-8"),
    ],
    ids=lambda value: None if isinstance(value, bytes) or "\n" in value else value[:24],
)
def test_what_cannot_be_used_is_refused(read, text, message):
    with pytest.raises(InputError) as caught:
        read(text)
    assert message in str(caught.value)
    assert "prices.csv" in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*none\.csv"):
        read_prices(tmp_path / "none.csv")
    with pytest.raises(InputError, match="cannot read"):
        read_prices(tmp_path)
