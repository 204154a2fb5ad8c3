"""Multi30k, English to German: captions of pictures, translated by people.

    train   29,000 pairs
    valid    1,014
    test     1,000    test_2016_flickr

Lower-cased, no English sentence of the test split is in the training split, and of the
validation split one is.

References:
  Elliott, Frank, Sima'an and Specia 2016, "Multi30K: Multilingual English-German Image
  Descriptions".
"""

from experiments.common.corpora import Source, fetch
from experiments.machine_translation.lines import Pairs, read_pairs

LICENCE = "none stated for the text; for download only"
_SHA256 = {
    "train.en": "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f",
    "train.de": "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6",
    "val.en": "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28",
    "val.de": "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a",
    "test_2016_flickr.en": "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9",
    "test_2016_flickr.de": "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8",
}
_FILES = {"train": "train", "valid": "val", "test": "test_2016_flickr"}


def read(split: str, data_dir: str | None) -> Pairs:
    """Return the pairs of "train", "valid" or "test"; for `data_dir` see `corpora.fetch`.

    Raises:
      InputError: a file is missing, damaged or cannot be downloaded.
    """
    english, german = (
        Source(
            name=f"multi30k {name}",
            file=f"multi30k/{name}.gz",
            repository="multi30k/dataset",
            commit="a3d2e0d26b56f3846f66a952536ffed4e401d05a",
            path=f"data/task1/raw/{name}.gz",
            sha256=_SHA256[name],
            licence=LICENCE,
        )
        for name in (f"{_FILES[split]}.en", f"{_FILES[split]}.de")
    )
    return read_pairs(fetch(english, data_dir), fetch(german, data_dir))
