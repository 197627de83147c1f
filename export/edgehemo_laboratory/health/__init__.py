"""Whether kiosks live and how they are, by a broker: for those who look after them. Nothing here
takes part in storing results; without it none is lost.

- ``told``: what comes from a broker, judged.
- ``inbox``: what came and is not kept yet; bounded.
- ``broker``: listens to the broker in a thread of its own.
- ``keeping``: the last state of each kiosk, with the time by this machine's clock.
- ``live``: that state as lists and pages show it.
"""
