"""The outbox attacked: answers lost, processes killed, the clock jumping.

As many results as the time allows, about one a second; ``--times 1000`` for a thousand.

What was acknowledged to who signed must be at every receiver, once, and no version of a result
before an earlier one. With a sender that forgets the identities of what it sends the same must come
to harm, or the attack would show nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from soak.attack import Attack, Figures, Scene
from tests.support.outbox_attack import OutboxAttack, harm_of

# Results that are signed, some of them corrected or withdrawn: at least, and of the control.
LEAST, FEW = 15, 15
CONTROL_S = 20.0
# Of a given number of results the attack goes on so long for each; it ends earlier once all is
# there.
EACH_S = 1.5


def killed(scene: Scene) -> Figures:
    """Sender, signer and receivers killed at any moment, three of ten messages going wrong."""
    results = scene.times or max(LEAST, int(scene.seconds))
    longest_s = scene.seconds if scene.times is None else EACH_S * results
    attack = OutboxAttack(
        scene.folder / "outbox", results, jumps=True, seed=scene.rng.randrange(99)
    )
    found = attack.run(longest_s)
    return {**_flat(found), "broken": harm_of(found)}


def forgetful(scene: Scene) -> Figures:
    """The same with a sender that makes a new identity for each try: it must do harm."""
    attack = OutboxAttack(scene.folder / "outbox", FEW, forgetful=True, faults=0.5)
    found = attack.run(CONTROL_S)
    harm = harm_of(found)
    return {**_flat(found), "harm as it must be": harm, "broken": 0 if harm else 1}


def _flat(found: Mapping[str, Any]) -> Figures:
    """The figures of all receivers together, and of each how many were noted for it."""
    receivers: Mapping[str, Mapping[str, int]] = found["receivers"]
    kinds = [kind for kind in next(iter(receivers.values())) if kind != "noted"]
    return {
        "rounds": found["versions"],
        "killed": found["killed"],
        "came again": found["came again"],
        "lost": found["acknowledged and lost"],
        "not whole": found["chain"],
        **{kind: sum(counted[kind] for counted in receivers.values()) for kind in kinds},
        **{f"noted for {name}": counted["noted"] for name, counted in receivers.items()},
    }


ATTACKS: Mapping[str, Attack] = {
    "outbox: killed": killed,
    "outbox: forgetful": forgetful,
}
