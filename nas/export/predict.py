"""Ask a network of this folder about raw data; numpy and onnxruntime are all that is needed.

    python predict.py NETWORK.onnx INPUT ...

There is one INPUT for each input of the network: a `.npy` file with an array of samples, with the
numbers that the training data have, or a text. What an array must be is stated in the file:
`elastic_nas.inputs` in its metadata. From Python: `from predict import predict`.
"""

import json
import sys

import numpy as np
import onnxruntime


def predict(path, *raw, bits=None):
    """The answers for raw samples: names of classes, values in their unit, or logits of tokens.

    A network with several outputs gives all of them by name, as they are.
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    told = session.get_modelmeta().custom_metadata_map
    inputs, output = (
        json.loads(told.get(f"elastic_nas.{key}", "{}")) for key in ("inputs", "output")
    )
    fed = {n: prepared(n, inputs[n], np.asarray(x)) for n, x in zip(inputs, raw, strict=True)}
    if "elastic_nas.bits" in told:  # a file that switches between bit-widths, the highest first
        fed["bits"] = np.array(bits or told["elastic_nas.bits"].split(",")[0], np.int64)
    answers = {
        o.name: x for o, x in zip(session.get_outputs(), session.run(None, fed), strict=True)
    }
    if len(answers) > 1:
        return answers
    (found,) = map(np.asarray, answers.values())
    mean, std = scaling(output)
    return np.array(output["names"])[found.argmax(-1)] if "names" in output else found * std + mean


def prepared(name, facts, raw):
    """Raw samples as the input `name` of the network reads them."""
    if raw.dtype.kind == "U":
        raw = np.array([tokens(text, facts) for text in raw])
    if raw.shape[1:] != tuple(facts["shape"]):
        axes = ", ".join(["samples", *facts.get("axes", ["..."])])
        raise SystemExit(f"{name} is ({axes}), {facts['shape']} each; given {raw.shape}")
    low, high = min(facts.get("low", [-np.inf])), max(facts.get("high", [np.inf]))
    least, most, width = raw.min(), raw.max(), high - low
    if least < low - width or most > high + width or (width / 20 > most - least and width < np.inf):
        training = f"{name} was {low:g} to {high:g} in training"
        print(f"{training}, given {least:g} to {most:g}: is the scale right?", file=sys.stderr)
    mean, std = scaling(facts)
    return ((raw - mean) / std).astype(facts["dtype"])


def scaling(facts):
    """The mean and the deviation, in a shape that fits samples; 0 and 1 if nothing is scaled."""
    column = (-1, *[1] * (len(facts.get("shape", ())) - 1 - facts.get("axis", 0)))
    return (np.reshape(facts.get(key, [none]), column) for key, none in (("mean", 0), ("std", 1)))


def tokens(text, facts):
    """A text as tokens, cut or filled up with padding."""
    rule, length = facts.get("tokenizer", {}), facts["shape"][0]
    if "model" in rule:  # words need one more package
        from tokenizers import Tokenizer

        found = Tokenizer.from_str(json.dumps(rule)).encode(text).ids
    elif rule.get("tokens") == "the bytes of the text in UTF-8":
        found = [*text.encode()]
    else:
        raise SystemExit("this network does not say how it reads a text; give an array of numbers")
    return (found + [0] * length)[:length]  # 0 is padding


if __name__ == "__main__":
    file, *given = sys.argv[1:]
    print(predict(file, *(np.load(x) if x.endswith(".npy") else [x] for x in given)))
