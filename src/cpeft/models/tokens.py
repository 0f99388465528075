"""The tokenizer side of a model without its weights, to check a recipe's data before anything is loaded."""

from cpeft.data.options import Form
from cpeft.models.chat import ChatCodec
from cpeft.models.content import UNREADABLE, not_loaded, read_config, read_tokenizer
from cpeft.models.places import folder_of
from cpeft.models.text import TextCodec
from cpeft.options.model import ModelOptions


def load_codec(options: ModelOptions, form: Form) -> TextCodec:
    """The codec of a model for a form of text; nothing is fetched. Raises MissingModel for one that is not here."""
    where = str(folder_of(options.name, options.file, fetch=False) or options.name)
    at = {"revision": options.revision, "local_files_only": True}
    try:
        config, tokenizer = read_config(where, **at), read_tokenizer(where, **at)
    except UNREADABLE as error:
        raise not_loaded(options.name, error) from None
    return (ChatCodec if form == "chat" else TextCodec)(tokenizer, config)
