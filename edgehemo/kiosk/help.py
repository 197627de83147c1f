"""Short help for every page: one table, read beside the page without leaving it."""

from __future__ import annotations

from typing import Literal

from edgehemo.kiosk.screens import Screen
from edgehemo.words.language import Words

# What is shown in the place of a screen has its own.
HelpedPage = Literal[Screen, "watched", "practice_done"]


def help_of(words: Words, page: HelpedPage) -> str:
    """Two to four sentences on what a page is for and what to do on it."""
    _ = words._
    return {
        "sign_in": _(
            "Touch your name, then enter your PIN. Your name stands on every result that you "
            "sign. If your name is not here, a supervisor can add you."
        ),
        "pin": _(
            "Touch the digits of your PIN, then the button at the bottom right. After some wrong "
            "tries the device waits a while. If you forgot your PIN, a supervisor can set a new "
            "one."
        ),
        "home": _(
            "Begin a new sample, or go on with one that waits. Practice works on simulated "
            "slides, and nothing of it is stored. Lock the page when you go away for a moment."
        ),
        "practice": _(
            "Choose a simulated slide. You work on it as on a real sample. At the end the page "
            "tells you what was on the slide and what you did right."
        ),
        "number": _(
            "Type the number of the label, or hold its barcode under the reader. Without a label, "
            "have the device draw a number and write it on the slide. Never enter a name."
        ),
        "person": _(
            "The limit of anaemia depends on age, sex, pregnancy and smoking. Ask the person. "
            "Under two years, enter the age in months. The altitude is set for this site."
        ),
        "check": _(
            "The device looks at its camera, lamp and storage before each sample. A red line must "
            "be mended first. A yellow line does not stop you, and a grey dash is what this "
            "device does not have yet. What to do stands beside it."
        ),
        "capture": _(
            "Put the slide under the lens and turn the focus until the bar is long. Hold still: "
            "the device takes the picture by itself, and a refused one does no harm. Then move "
            "the slide a little. Touch Analyse now only if you cannot take more fields."
        ),
        "analysis": _(
            "All fields are taken. The device works out the result and stores it. You may take "
            "the slide away. The result opens by itself."
        ),
        "result": _(
            "The word and the shape give the grade; the line with a dot is the haemoglobin and "
            "how far it may be off. Do what stands at the left. Look at the cells that are asked "
            "for, then sign. Finish later keeps the sample, Give up ends it."
        ),
        "review": _(
            "These cells ask for a person. Touch one to see it large and to name it. If all names "
            "on the page are right, confirm them together. If you cannot tell, say so."
        ),
        "sign_off": _(
            "You confirm the result with your name. You may set another grade, with a reason. The "
            "computed result stays stored too."
        ),
        "done": _(
            "Print the report, show the code to a telephone, or copy the report to a USB stick. "
            "Then touch Finish. The result stays on this device, where a supervisor can print it "
            "again."
        ),
        "practice_done": _(
            "What was on the simulated slide, and what you did right. A red line is what to do "
            "otherwise next time. Nothing of a practice is stored."
        ),
        "watched": _(
            "Somebody works with this device at another screen. With the PIN of that person the "
            "work goes on here, and nothing is lost. Somebody else can sign in here once that "
            "person has signed out or locked the page."
        ),
        "abandon": _(
            "Choose why this sample ends here. Its pictures are deleted; a result that is stored "
            "stays and is marked as withdrawn. If you only want to go on later, touch Back, then "
            "Finish later."
        ),
        "fault": _(
            "Something stops the work. Do what the page says. Most pages go on by themselves when "
            "it is mended. If not, call whoever looks after this device and tell them the code."
        ),
        "results": _(
            "All results of this device. Search for one, or touch it to see what it says, its "
            "cells, its versions and who changed what. Under Change you hold a result that must "
            "not be used, set another grade, or withdraw it."
        ),
        "monitoring": _(
            "Charts show whether this device stays as it was. Under Analyser you type in what a "
            "laboratory measured of the same samples. Look at them once a week, and whenever a "
            "result surprises you."
        ),
        "users": _(
            "Who may work with this device. Add people, give them a new PIN, or end their access. "
            "Each has one role."
        ),
        "backup": _(
            "Copy all records to a USB stick as often as the page asks, and keep the stick in "
            "another place than the device. Results can be written to a stick, and a backup put "
            "back, from here too."
        ),
        "updates": _(
            "What the laboratory sends for this device: models, words, settings. Nothing is used "
            "before you say so, unless this device is set up otherwise. Models are tried first; "
            "what was used before comes back by itself where the new does not work."
        ),
        "equipment": _(
            "The camera, its settings and its live picture. Change a setting only if you know "
            "what it does: the calibration belongs to it. Another camera is used at once, and "
            "needs its own calibration."
        ),
        "calibration": _(
            "Measure this microscope: scale, light, stain, focus and haemoglobin, how well it "
            "repeats, and its control slide. Each has its own steps. Take your time: every later "
            "result stands on it."
        ),
        "artefacts": _(
            "Which models and which calibration profile are in use. A new one is checked before "
            "it is used. The one before can be taken back."
        ),
        "doctor": _(
            "The device looks at itself: what is installed, plugged in, free and fast. What is "
            "wrong stands first, with what to do."
        ),
    }[page]
