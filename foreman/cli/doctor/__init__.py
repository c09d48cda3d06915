"""`foreman doctor`: check whether Foreman can work here, and say what to fix."""

from foreman.cli.doctor.command import doctor as doctor
