"""Which corpus, which scale, which recipe: the five profiles, and the Lesson that a notebook starts with."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from serlib.data import ravdess
from serlib.data.listeners import listeners
from serlib.data.splits import Split
from serlib.errors import SerlibError, demand, in_short, nearest
from serlib.files import named_folder, safe_name
from serlib.judge import predictions, scoreboard
from serlib.judge.predictions import AnyVoter
from serlib.train.backbones import SIX, Backbone, backbone
from serlib.train.finetuning import fine_tune
from serlib.train.kept import RECORD, keep_voter, load_voter
from serlib.train.recipes import Probe, Recipe
from serlib.train.run import NoRun, Run, Runs, load_run, sound_of

# The repository's results/: a pip-installed serlib brings them along, a clone has them beside it.
_BROUGHT = Path(__file__).parent / "results"
SHIPPED = _BROUGHT if _BROUGHT.is_dir() else Path(__file__).parents[1] / "results"
DRIVE = Path("/content/drive/MyDrive")  # Google Drive where Colab has mounted it: what lies there outlives the session
LARGE_GPU = 30  # GB of memory from which the paper's recipe fits all six


@dataclass(frozen=True)
class Profile:
    """One row of the table of profiles: the corpus, whether twins stand in for the six, and the two recipes.

    ``corpus`` is "mini" or "ravdess", ``twins`` whether mini twins stand in for the six, ``recipe`` how the six are
    fine-tuned, ``frozen`` the key of the encoder that notebook 02 probes, and ``probe`` how. ``own`` holds what single
    backbones change in the recipe, so that they fit.

    Examples
    --------
    >>> ser.PROFILES["laptop"].corpus, ser.PROFILES["laptop"].recipe.epochs
    ('ravdess', 15)
    """

    name: str
    corpus: str
    twins: bool
    recipe: Recipe
    frozen: str
    probe: Probe
    own: dict[str, dict[str, Any]] = field(default_factory=dict)


_PROBE = Probe()
# To the letter: stock batches and checkpoints, the Trainer's defaults for what the paper does not mention.
_PAPER = Recipe(precision="fp32", layerdrop=None, bucketing=False)
_BEST = Recipe(
    learning_rate=3e-5,
    head_learning_rate=1e-3,
    warmup=0.1,
    layers="weighted",
    trim=True,
    label_smoothing=0.1,
    class_weights=True,
    masking=0.05,
)
# One recipe for all six, so that they may be compared and vote together: with LoRA the x-large fits a T4, and the
# checkpoints of all six a free Drive. Rank and learning rate are those of the experiments on speech emotion of Feng
# and Narayanan (2023, arXiv 2306.05350).
_LORA = Recipe(lora=16, learning_rate=2e-4, gradient_checkpointing=True)
_TWIN = Recipe(
    epochs=6,
    batch_size=16,
    accumulation=1,
    learning_rate=1e-3,
    head_learning_rate=2e-3,
    warmup=0.1,
    eval_every=65,
    trim=True,
    precision="fp32",  # small matrices gain nothing from less, and every CPU gives nearly the same numbers
)
PROFILES = {
    profile.name: profile
    for profile in (
        Profile("mini", "mini", True, _TWIN, "hubert-base-mini", _PROBE),
        Profile("laptop", "ravdess", True, replace(_TWIN, epochs=15), "whisper-tiny.en", _PROBE),
        Profile("t4", "ravdess", False, _LORA, "hubert-base", _PROBE),
        Profile("paper", "ravdess", False, _PAPER, "hubert-base", _PROBE),
        Profile(
            "best", "ravdess", False, _BEST, "hubert-base", _PROBE, {"hubert-xlarge": {"gradient_checkpointing": True}}
        ),
    )
}

# The running scoreboard, in the order of reading: the notebook that makes a system; its folder below runs/<profile>;
# its name; what its test voices are; what is new about it. In braces stand the split of the board, and what this
# profile has for a backbone. New voices are those of notebook 11, which pools folds.
KNOWN, FIVE_FOLDS, ONE_FOLD = "known", "new, five folds", "new, one fold"
_SYSTEMS = (
    ("02", "{split}/no-ears", "no ears", KNOWN, "never listens, always says the same"),
    ("02", "{split}/svm", "SVM on hand-made features", KNOWN, "listens: forty measurements with a name"),
    ("02", "{split}/mel-bands", "logistic regression on mel bands", KNOWN, "a picture of the sound in their place"),
    ("02", "{split}/{frozen}-probe-random", "{frozen}, frozen, not pre-trained", KNOWN, "a network of random weights"),
    ("02", "{split}/{frozen}-probe", "{frozen}, frozen", KNOWN, "the same network, pre-trained"),
    ("03", "{split}/{wav2vec2-large}", "{wav2vec2-large}", KNOWN, "another network, and now it learns too"),
    ("04", "{split}/{wav2vec2-xlsr53}", "{wav2vec2-xlsr53}", KNOWN, "the same shape, pre-trained in many languages"),
    ("05", "{split}/{hubert-base}", "{hubert-base}", KNOWN, "smaller, and never told where a clip ends"),
    ("06", "{split}/{hubert-xlarge}", "{hubert-xlarge}", KNOWN, "the same idea, the largest of the six"),
    ("07", "{split}/{unispeech-large}", "{unispeech-large}", KNOWN, "pre-trained with labels of sounds"),
    ("08", "{split}/{unispeech-multilingual}", "{unispeech-multilingual}", KNOWN, "the same, in several languages"),
    ("18", "{split}/vote", "vote chosen on validation", KNOWN, "no new network: some of the six vote"),
    ("10", "{split}/vote-of-5", "vote of the paper's five", KNOWN, "the jury that the paper chose"),
    ("10", "{split}/vote-of-3", "vote of the paper's three", KNOWN, "its smaller jury"),
    ("11", "prices/svm-new-voices", "SVM, new voices", FIVE_FOLDS, "nobody in the test was heard in training"),
    (
        "11",
        "prices/probe-new-voices",
        "{frozen}, frozen, new voices",
        FIVE_FOLDS,
        "the same question to the frozen network",
    ),
    ("11", "prices/tuned-new-voices", "{hubert-base}, new voices", ONE_FOLD, "and to one that learns, in one fold"),
)


@dataclass(frozen=True)
class Lesson:
    """What a notebook works with: the profile's corpus, recipe and backbones, and the folder of its runs.

    ``profile`` is the name of the profile, ``home`` the folder that holds runs/ and results/, ``recipe`` how the six
    are fine-tuned.

    Examples
    --------
    >>> lesson = ser.start("mini")
    CPU, 2 cores - profile mini - 1,440 synthetic clips, mini twins of the six models
    >>> lesson.profile, lesson.recipe.epochs
    ('mini', 6)
    """

    profile: str
    home: Path
    recipe: Recipe

    @property
    def _settings(self) -> Profile:
        return PROFILES[self.profile]

    @property
    def probe_recipe(self) -> Probe:
        """How a frozen encoder is probed in this profile (notebook 02).

        >>> lesson = ser.start("mini")
        CPU, 2 cores - profile mini - ...
        >>> print(lesson.probe_recipe)
        frozen encoder, mean+std of all layers, logistic regression
        """
        return self._settings.probe

    @property
    def runs(self) -> Runs:
        """The folder of this profile's runs, which ``ser.fine_tune`` takes.

        >>> lesson = ser.start("mini")
        CPU, 2 cores - profile mini - ...
        >>> lesson.runs.folder.relative_to(lesson.home).as_posix()
        'runs/mini'
        """
        return Runs(self.home / "runs" / self.profile, self.profile)

    @property
    def speech(self) -> str:
        """What the clips of this profile are, in words for titles: "synthetic speech" or "RAVDESS".

        >>> ser.start("mini").speech
        CPU, 2 cores - profile mini - ...
        'synthetic speech'
        """
        return "synthetic speech" if self._settings.corpus == "mini" else "RAVDESS"

    def corpus(self) -> pd.DataFrame:
        """Return the corpus of this profile, spoken, found or downloaded on first use.

        A copy of RAVDESS that lacks clips is taken as it is, and said.

        Returns
        -------
        DataFrame
            A row for each of 1,440 clips, its name as index, with the columns that ``ser.mini`` and ``ser.ravdess``
            describe.

        Raises
        ------
        SerlibError
            Where the corpus can be neither found nor made, in one sentence that says what to do.

        Examples
        --------
        >>> lesson = ser.start("mini")
        CPU, 2 cores - profile mini - ...
        >>> corpus = lesson.corpus()  # doctest: +SKIP
        """
        if self._settings.corpus == "mini":
            return ravdess.mini()
        corpus = ravdess.ravdess()
        if len(corpus) < ravdess.CLIPS:
            found = f"{len(corpus):,} clip{'s' * (len(corpus) > 1)} of {corpus['actor'].nunique()}"
            print(f"This copy of RAVDESS has {found} of its 24 actors, and all of it has {ravdess.CLIPS:,}.")
        return corpus

    def backbone(self, key: str) -> Backbone:
        """Return one of the six as this profile uses it (its mini twin where the real one is too large).

        Parameters
        ----------
        key
            A key of ``ser.SIX``, or "frozen", the encoder that notebook 02 probes; or whatever ``ser.backbone`` takes.

        Returns
        -------
        Backbone
            What ``ser.fine_tune`` and ``ser.probe`` take.

        Raises
        ------
        SerlibError
            With the nearest names for what is no backbone.

        Examples
        --------
        >>> lesson = ser.start("mini")
        CPU, 2 cores - profile mini - ...
        >>> lesson.backbone("hubert-base").title
        'HuBERT base (mini twin)'
        """
        if key == "frozen":
            return backbone(self._settings.frozen)
        return backbone(f"{key}-mini") if self._settings.twins and key in SIX else backbone(key)

    def recipe_for(self, backbone: Backbone) -> Recipe:
        """Return the recipe of this profile for one backbone: the common one, or what makes this backbone fit.

        Parameters
        ----------
        backbone
            What ``lesson.backbone`` returned.

        Returns
        -------
        Recipe
            What ``ser.fine_tune`` takes.

        Examples
        --------
        >>> lesson = ser.start("best")
        CPU, 2 cores - profile best - ...
        >>> [lesson.recipe_for(lesson.backbone(key)).gradient_checkpointing for key in ("hubert-base", "hubert-xlarge")]
        [False, True]
        """
        return replace(self.recipe, **self._settings.own.get(backbone.key, {}))

    def run(self, key: str, split: str | Split = "stratified") -> Run:
        """Return the finished run of a backbone, from runs/ or, where that has nothing, from results/.

        Parameters
        ----------
        key
            A key of ``ser.SIX``, or "frozen", the probe of notebook 02.
        split
            The name of a split. A split itself, in place of its name, asks for a run that heard its very clips.

        Returns
        -------
        Run
            A voter, with history and record.

        Raises
        ------
        SerlibError
            Where neither folder has one, or has a damaged one, or one of another corpus.

        Examples
        --------
        >>> lesson = ser.start("laptop")
        CPU, 2 cores - profile laptop - ...
        >>> lesson.run("frozen").name
        'Whisper tiny.en, frozen'
        """
        name = split.name if isinstance(split, Split) else split
        place = Path(safe_name(name), safe_name(self.backbone(key).key + "-probe" * (key == "frozen")))
        own, kept = self.runs.folder / place, self._in_results(f"{place.as_posix()}/run.json").parent
        for run in map(load_run, [folder for folder in (own, kept) if (folder / "run.json").is_file()] or [own]):
            if run.info["corpus"] != self._settings.corpus:
                raise SerlibError(
                    f"The run in {run.folder} heard {run.info['corpus']}, and profile {self.profile} is about "
                    f"{self._settings.corpus}; move that folder away."
                )
            if not isinstance(split, Split) or _heard_the_clips_of(run, split):
                return run
        raise NoRun(f"The run in {run.folder} heard other clips than split {name} has; train it on this split.")

    def finished(self, split: str | Split = "stratified") -> list[Run]:
        """Return every finished run of the six and the probe on a split, in the book's order.

        Only what is not there, or heard other clips than a split in place of its name, is passed over.

        Parameters
        ----------
        split
            The name of a split, or the split itself.

        Returns
        -------
        list of Run
            Seven at most, none where nothing was trained.

        Raises
        ------
        SerlibError
            For a damaged run.

        Examples
        --------
        >>> lesson = ser.start("mini")
        CPU, 2 cores - profile mini - ...
        >>> [run.name for run in lesson.finished()][:2]
        ['wav2vec 2.0 large (mini twin)', 'wav2vec 2.0 XLSR-53 (mini twin)']
        """
        found = []
        for key in (*SIX, "frozen"):
            try:
                found.append(self.run(key, split))
            except NoRun:
                continue
        return found

    def jury(self, split: Split) -> list[Run]:
        """Return the fine-tuned runs of the six on a split, in the book's order: those that vote (09, 18, 10).

        Twins that were not trained yet are trained now, for it takes minutes.

        Parameters
        ----------
        split
            The split that they are trained and tested on.

        Returns
        -------
        list of Run
            Three to six.

        Raises
        ------
        SerlibError
            For fewer than three, and as ``ser.fine_tune``.

        Examples
        --------
        >>> lesson = ser.start("mini")
        CPU, 2 cores - profile mini - ...
        >>> split = ser.stratified_split(lesson.corpus())  # doctest: +SKIP
        >>> vote = ser.majority_vote(lesson.jury(split))  # doctest: +SKIP
        """
        found = {run.info["backbone"]: run for run in self.finished(split) if run.info["kind"] == "fine-tuned"}
        for member in map(self.backbone, SIX):
            if member.key not in found and member.is_twin:
                found[member.key] = fine_tune(member, split, self.recipe_for(member), self.runs)
        jury = [found[key] for key in (self.backbone(key).key for key in SIX) if key in found]
        if len(jury) < 3:
            raise SerlibError(
                f"A vote needs three models, and {len(jury)} of the six {'is' if len(jury) == 1 else 'are'} trained; "
                "run three of the notebooks 03 to 08 first."
            )
        return jury

    def leaderboard(self) -> pd.DataFrame:
        """Return what `make leaderboard` committed, a row for each system on each protocol (11).

        Returns
        -------
        DataFrame
            Columns protocol, entry, folds, clips, right (counts), accuracy and UAR with their 95 % intervals (``_low``,
            ``_high``), 0 to 1, and seconds.

        Raises
        ------
        SerlibError
            For a profile that has none.

        Examples
        --------
        >>> lesson = ser.start("laptop")
        CPU, 2 cores - profile laptop - ...
        >>> table = lesson.leaderboard()
        >>> table.loc[table["entry"] == "logistic regression", ["protocol", "right"]].head(1).to_numpy().tolist()
        [['random, as the paper', 259]]
        """
        if (path := self._in_results("leaderboard.csv")).is_file():
            return pd.read_csv(path)
        raise SerlibError(f'There is no leaderboard of profile {self.profile}; ser.start("laptop") has one.')

    def keep(self, voter: AnyVoter, name: str, corpus: pd.DataFrame) -> None:
        """Keep what a voter that is no run said, beside the runs: for the scoreboard, and for prices (02, 18, 10, 11).

        ``make results`` copies it to results/, where ``committed`` finds it.

        Parameters
        ----------
        voter
            A vote or a predictions frame.
        name
            Its folder below the profile's, such as ``stratified/svm``: a split, or another word, and its own name.
        corpus
            The corpus that it heard; what is kept knows the recordings by content.

        Raises
        ------
        SerlibError
            For a corpus that it did not hear, for a voter of another profile, for a name without its two halves, and in
            the place of a run.

        Examples
        --------
        >>> lesson = ser.start("mini")
        CPU, 2 cores - profile mini - ...
        >>> lesson.keep(svm, "stratified/svm", lesson.corpus())  # doctest: +SKIP
        """
        halves = name.split("/") if isinstance(name, str) else []
        if len(halves) != 2 or not all(half.strip() for half in halves):
            raise SerlibError(f"{name!r:.60} is no name for a voter; give a split and a name, such as stratified/svm.")
        keep_voter(voter, self.runs.folder.joinpath(*map(safe_name, halves)), corpus, self.profile)

    def scoreboard(self, split: Split | None, through: str) -> scoreboard.Scoreboard:
        """Return every system that the notebooks up to one have made, on one split (02 to 11).

        What neither runs/ nor results/ has is left out, and said; so is what heard other recordings than the split has.
        In notebook 11 new voices join, and where the clips are RAVDESS, the paper's numbers and those of others.

        Parameters
        ----------
        split
            The split whose test part all known voices share. None is the book's own split as results/ has it, for which
            no recordings are needed.
        through
            The number of the notebook, "02" to "11".

        Returns
        -------
        Scoreboard
            Its table has a row for each system; its sentences say who is above the bar of notebook 02.

        Raises
        ------
        SerlibError
            For what is no split and no such notebook, and for a damaged run.

        Examples
        --------
        >>> lesson = ser.start("laptop")
        CPU, 2 cores - profile laptop - ...
        >>> split = ser.stratified_split(lesson.corpus())  # doctest: +SKIP
        >>> lesson.scoreboard(split, through="04")  # doctest: +SKIP
        """
        notebooks = list(dict.fromkeys(notebook for notebook, *_ in _SYSTEMS))
        if through not in notebooks:
            raise SerlibError(
                f"No notebook {through!r:.20} adds to the scoreboard; those that do are {', '.join(notebooks)}."
            )
        if split is not None:
            demand(split, Split, "split", "make one with ser.stratified_split")
        used = {key: self.backbone(key) for key in (*SIX, "frozen")}
        folders = {"split": safe_name("stratified" if split is None else split.name)}
        folders |= {key: safe_name(one.key) for key, one in used.items()}
        titles = {key: one.title for key, one in used.items()}
        found, missing, strange = [], list[str](), list[str]()
        read = set(notebooks[: notebooks.index(through) + 1])
        for notebook, folder, title, voices, changed in (row for row in _SYSTEMS if row[0] in read):
            name, known = title.format(**titles), voices == KNOWN
            there = self._voters_in(folder.format(**folders), own=split is not None)
            fitting = [voter for voter in there if split is None or _heard_sounds_of(voter, split, whole=not known)]
            if fitting:
                found.append(scoreboard.System(notebook, name, fitting[0], voices, known, changed))
            else:
                (strange if there else missing).append(f"{name} ({notebook})")
        notes = [f"Not yet, with the notebook that makes it: {', '.join(missing)}."] if missing else []
        if strange:
            notes.append(f"Left out, because it heard other clips or recordings: {', '.join(strange)}.")
        last, corpus = through == notebooks[-1], self._settings.corpus
        real = corpus == "ravdess" and (split is None or split.attrs["name"] == corpus)
        if last and not real:
            notes.append("These clips are not RAVDESS, so no published number stands here.")
        return scoreboard.scoreboard(found, last and real, notes)

    def committed(self, name: str) -> pd.DataFrame:
        """Return predictions that stand in results/, a voter (03, 11).

        Parameters
        ----------
        name
            Their folder below the profile's, such as ``prices/svm``.

        Returns
        -------
        DataFrame
            A predictions frame.

        Raises
        ------
        SerlibError
            Where there are none of that name.

        Examples
        --------
        >>> lesson = ser.start("laptop")
        CPU, 2 cores - profile laptop - ...
        >>> f"{ser.accuracy(lesson.committed('prices/svm')):.1%}"
        '74.3%'
        """
        return predictions.read(self._in_results(f"{name}/predictions.csv"))

    def answers(self, name: str) -> pd.DataFrame:
        """Return what is committed of systems that were asked many times, answers alone (11, 14, 16).

        Parameters
        ----------
        name
            "luck" for thirty random splits, "enrolled" for clips of the tested voice enrolled; "rooms-known" and
            "rooms-new" for distorted clips of known voices and of new ones, as scripts/rooms.py asked and, of profile
            mini, scripts/rooms_twin.py (14); "networks-known" and "networks-new" for other networks, as
            scripts/networks.py trained them, and "networks-costs" for what each cost (15); "corpora" for three corpora
            that were learned on and tested, as scripts/corpora.py asked (16); of profile mini, "federated" for a head
            and a whole twin after each round, as scripts/federated.py asked (17).

        Returns
        -------
        DataFrame
            Index the clip; columns actor and emotion, then one for each time: the emotion that was answered, NaN where
            the clip was not judged. Of costs: index what was measured, a column a network and protocol.

        Raises
        ------
        SerlibError
            For a profile that has none of that name.

        Examples
        --------
        >>> lesson = ser.start("laptop")
        CPU, 2 cores - profile laptop - ...
        >>> said = lesson.answers("luck")
        >>> int(said["kernel ridge, split 7"].notna().sum())
        288
        """
        if (path := self._in_results(f"answers/{safe_name(name)}.csv")).is_file():
            return pd.read_csv(path, index_col=0, dtype=str)
        raise SerlibError(
            f'There are no answers called {name!r:.60} of profile {self.profile}; ser.start("laptop") has luck, '
            "enrolled, rooms-known, rooms-new, networks-known, networks-new, networks-costs and corpora, and "
            'ser.start("mini") has rooms-known, rooms-new and federated.'
        )

    def listeners(self, name: str) -> pd.DataFrame:
        """Return which share of its listeners recognized each clip of another corpus, of those in results/ (11).

        Parameters
        ----------
        name
            The corpus; ``committed("listeners/NAME")`` has what a model said of its clips.

        Returns
        -------
        DataFrame
            As ``ser.listeners`` of a file: a row a clip, ``share`` between 0 and 1.

        Raises
        ------
        SerlibError
            Where there are none of that name.

        Examples
        --------
        >>> lesson = ser.start("laptop")
        CPU, 2 cores - profile laptop - ...
        >>> lesson.listeners("emodb").loc["03a01Fa", "share"].item()
        0.9
        """
        return listeners(self._in_results(f"listeners/{name}/listeners.csv"))

    def _voters_in(self, place: str, own: bool) -> list[AnyVoter]:
        """Return the run or kept voter of a folder in runs/, if wanted, then the one that results/ has in its place."""
        found: list[AnyVoter] = []
        for record, load in (("run.json", load_run), (RECORD, load_voter)):
            mine = [self.runs / place / record] if own else []
            for path in (*mine, self._in_results(f"{place}/{record}")):
                if path.is_file():
                    found.append(load(path.parent))
        return found

    def _in_results(self, name: str) -> Path:
        """Return where this profile's results have a file: one's own, else those that serlib brings."""
        own = self.home / "results" / self.profile / name
        return own if own.is_file() else SHIPPED / self.profile / name

    def __str__(self) -> str:
        settings = self._settings
        data = "1,440 synthetic clips" if settings.corpus == "mini" else "recordings of RAVDESS"
        models = "mini twins of the six models" if settings.twins else "the six models at full size"
        kept = " - runs are kept on Drive" if DRIVE in self.home.parents else ""
        return f"{_machine()} - profile {self.profile} - {data}, {models}{kept}"


def start(profile: str = "auto", epochs: int | None = None) -> Lesson:
    """Begin a notebook: choose the profile, print one line about it, return the Lesson.

    Parameters
    ----------
    profile
        A name of ``ser.PROFILES``, or "auto": mini without a GPU, t4 on a small one and paper on one of 30 GB or more.
    epochs
        How many epochs the profile's recipe trains; None keeps its own.

    Returns
    -------
    Lesson
        Corpus, recipe, backbones and runs of the profile.

    Raises
    ------
    SerlibError
        With the nearest names for an unknown profile, and for epochs that are no whole number from 1 up.

    Examples
    --------
    >>> lesson = ser.start("mini", epochs=2)
    CPU, 2 cores - profile mini - 1,440 synthetic clips, mini twins of the six models
    >>> lesson.recipe.epochs
    2
    """
    if isinstance(profile, str) and profile == "auto":
        profile = _profile_of_this_machine()
    if not isinstance(profile, str) or profile not in PROFILES:
        raise SerlibError(
            f"There is no profile called {in_short(profile)}: {nearest(str(profile), ['auto', *PROFILES])}"
        )
    recipe = PROFILES[profile].recipe
    lesson = Lesson(profile, _home(), recipe if epochs is None else replace(recipe, epochs=epochs))
    _one_thread_for_small_products()
    print(lesson)
    return lesson


def _one_thread_for_small_products() -> None:
    """Let NumPy and SciPy multiply with one thread; torch, which multiplies what is large, keeps all of its own.

    scikit-learn's classifiers in the notebooks multiply small matrices many times. Threads of OpenBLAS wait for each
    other by spinning: on two cores with other work, one logistic regression took 2.6 s with two and 0.15 s with one.
    """
    import scipy.linalg  # noqa: F401  (brings a BLAS of its own, which can only be told once it is there)
    from threadpoolctl import ThreadpoolController

    ThreadpoolController().select(internal_api="openblas").limit(limits=1)


def _heard_the_clips_of(run: Run, split: Split) -> bool:
    """Whether a run was judged on the clips of a split: a smaller corpus has splits of the same name."""
    parts = run.predictions.groupby("part")["clip"].agg(set)
    return all(parts.get(part, set()) == set(getattr(split, part).index) for part in ("validation", "test"))


def _heard_sounds_of(voter: AnyVoter, split: Split, whole: bool) -> bool:
    """Whether a voter was tested on the recordings of a split's test part, or, ``whole``, on some of all its clips."""
    rows = predictions.rows_of(voter)
    clips = pd.concat([part for _, part in split.parts()]) if whole else split.test
    heard = clips[clips.index.isin(rows["clip"])]
    return len(heard) == len(rows) and rows.attrs.get("sounds", {}).get("test") == sound_of(heard)


def _home() -> Path:
    """Return where runs are kept: ``SERLIB_HOME``, else the repository's folder, else Colab's Drive, else here."""
    if named := named_folder("SERLIB_HOME"):
        return named
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "_toc.yml").is_file():
            return folder
    return DRIVE / "ser-book" if DRIVE.is_dir() else here


def _profile_of_this_machine() -> str:
    import torch

    if not torch.cuda.is_available():
        return "mini"
    return "paper" if torch.cuda.get_device_properties(0).total_memory / 1e9 >= LARGE_GPU else "t4"


def _machine() -> str:
    import torch

    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 1e9
        return f"{torch.cuda.get_device_name()}, {memory:.0f} GB"
    return f"CPU, {os.cpu_count()} cores"
