"""What copies of real prints would have filled in a recorded market, order type by order type.

`tape` plays the recording, `copies` are the orders that go their way in it, `play` brings the two together, `figures`
judge what came of it; `run` is the command.
"""
