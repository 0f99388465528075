"""The text side of a model without its weights: what a recipe's data is checked with before anything is loaded."""

from transformers import AutoConfig, AutoTokenizer

from cpeft.data.options import Form
from cpeft.errors import MissingModel
from cpeft.models.chat import ChatCodec
from cpeft.models.loading import ModelOptions, folder_of
from cpeft.models.text import TextCodec


def load_codec(options: ModelOptions, form: Form) -> TextCodec:
    """How a model reads and says text of a form; nothing is fetched. Raises MissingModel for one that is not here."""
    where = str(folder_of(options.name, options.file, fetch=False) or options.name)
    try:
        config = AutoConfig.from_pretrained(where, revision=options.revision, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(where, revision=options.revision, local_files_only=True)
    except (OSError, ValueError) as error:
        raise MissingModel(
            f"the tokenizer of '{options.name}' could not be loaded: {str(error).splitlines()[0]}"
        ) from None
    return (ChatCodec if form == "chat" else TextCodec)(tokenizer, config)
