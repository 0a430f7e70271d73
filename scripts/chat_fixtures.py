"""Write src/text/fixtures/chat_renderings.json: what Jinja2, set up as transformers does, makes of templates written here.

Run with a Python that has transformers (Jinja2 3.1.6):

    python scripts/chat_fixtures.py
    python scripts/chat_fixtures.py --templates DIR --out cases.json     # the same for the *.jinja files of published models
    PROBITY_TEMPLATE_CASES=$PWD/cases.json cargo test --lib published_templates -- --ignored
"""

import argparse
import json
from pathlib import Path

from transformers.utils.chat_template_utils import render_jinja_template

CHATML_DEFAULT_SYSTEM = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

TEMPLATES = {
    "chatml with a default system line": CHATML_DEFAULT_SYSTEM,
    "multi-line, trimmed": """{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] | trim %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
    {%- set loop_messages = messages %}
{%- endif %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('roles must alternate user/assistant') }}
    {%- endif %}
    {%- if loop.first and system_message %}
        {{- '<<' ~ system_message ~ '>>\n' }}
    {%- endif %}
    {{- '[' + message.role.upper() + '] ' + message.content.strip() }}
    {%- if message.role == 'assistant' %}{{ eos_token }}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %} [ASSISTANT]{%- endif %}
""",
    "block tags on lines of their own": """{% for message in messages %}
  {% if message.role == 'assistant' %}
A: {{ message.content }}
  {% else %}
{{ message.role | title }}: {{ message.content | replace('\n', ' ') }}
  {% endif %}
{% endfor %}
{% if add_generation_prompt %}
A:
{% endif %}
""",
    "generation tags": """{%- for m in messages -%}
{% if m.role == 'assistant' %}
<a>{% generation %}{{ m.content }}{% endgeneration %}</a>
{%- generation -%}  x  {%- endgeneration -%}
{% else %}
<{{ m.role }}>{{ m.content }}
{% endif %}
{%- endfor -%}""",
    "namespace, break, slices": """{% set ns = namespace(last='', n=0) %}
{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = m.content %}{% set ns.n = ns.n + 1 %}{% endif %}{% endfor %}
{% for m in messages[::-1] %}{% if m.role == 'user' %}{{ m.content[:5] }}|{% break %}{% endif %}{% endfor %}
{{ ns.n }}:{{ ns.last.split(' ')[-1] }} {{ messages[-1].role in ['user', 'assistant'] }} {{ messages | length }}""",
    "python methods and filters": """{%- for m in messages %}
{%- set c = m.content %}
{{ c.startswith('W') }} {{ c.endswith('?') }} {{ c.lower().count('a') }} {{ c.lstrip() | upper }} {{ c.split('\n') | join('/') }}
{%- if 'answer' in c and not c is none and c is string %} has{% endif %}
{%- if m.get('name') is defined and m.get('name') %}named{% endif %}
{%- if tools is defined and tools %}tools{% elif tools is none %} none{% endif %}
{%- if nothing is defined %}!{% endif %}{{ nothing }}
{%- endfor %}
{{ messages[0].content | tojson }} {{ [1, 2] | tojson }} {{ {'a': 'é<&'} | tojson }}""",
    "macro and conditional expression": """{%- macro turn(role, text, end='</s>') -%}
{{ role }}={{ text }}{{ end if role == 'assistant' else '' }}
{%- endmacro -%}
{% for m in messages %}{{ turn(m['role'], m['content']) }};{% endfor %}
{{- 'assistant=' if add_generation_prompt else 'end' }}
""",
    # The constructs of templates for reasoning and tools, in words of our own.
    "reasoning is cut off, roles in a namespace": """{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}
{%- set ns = namespace(first=true, tool=false, system='') %}
{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system = message['content'] %}{%- endif %}{%- endfor %}
{{- bos_token }}{{ ns.system }}
{%- for message in messages %}
{%- if message['role'] == 'user' %}{%- set ns.tool = false -%}{{ '<U>' + message['content'] }}{%- endif %}
{%- if message['role'] == 'assistant' and message['content'] is none %}
{%- for call in message['tool_calls'] %}{%- if not ns.first %}{{ call['type'] }}{%- endif %}{%- endfor %}
{%- endif %}
{%- if message['role'] == 'assistant' and message['content'] is not none %}{% set content = message['content'] %}
{%- if '</b>' in content %}{% set content = content.split('</b>')[-1] %}{% endif %}{{ '<A>' + content + eos_token }}{%- endif %}
{%- endfor -%}
{% if add_generation_prompt and not ns.tool %}{{ '<A><t>\n' }}{% endif %}""",
    "a dated preamble and tools": """{{- bos_token }}
{%- if custom_tools is defined %}{%- set tools = custom_tools %}{%- endif %}
{%- if not tools_in_user_message is defined %}{%- set tools_in_user_message = true %}{%- endif %}
{%- if not date_string is defined %}{%- set date_string = "26 Jul 2024" %}{%- endif %}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|h|>system<|/h|>\n\n" }}
{%- if builtin_tools is defined or tools is not none %}{{- "Environment: x\n" }}{%- endif %}
{%- if builtin_tools is defined %}{{- "Tools: " + builtin_tools | reject('equalto', 'y') | join(", ") + "\n\n" }}{%- endif %}
{{- "Today: " + date_string + "\n\n" }}
{%- if tools is not none and not tools_in_user_message %}
    {%- for t in tools %}{{- t | tojson(indent=4) }}{{- "\n\n" }}{%- endfor %}
{%- endif %}
{{- system_message }}{{- "<|e|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|h|>' + message['role'] + '<|/h|>\n\n'+ message['content'] | trim + '<|e|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}{{- raise_exception("one at a time") }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|h|>assistant<|/h|>\n\n' }}{%- endif %}
""",
    "raises": "{% if messages[0].role != 'system' %}{{ raise_exception('no system message') }}{% endif %}ok\n",
    "trailing newlines": "{{ messages[0].content }}\n\n",
}

CONVERSATIONS = [
    [{"role": "user", "content": "What is 3 + 4?"}],
    [{"role": "system", "content": "  You are terse.\n"}, {"role": "user", "content": "Is 7 prime?\nAnswer yes or no."}],
    [
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": "The answer is <b>\"é\"</b> 日本."},
        {"role": "user", "content": " {{ not a tag }} {% raw %} "},
    ],
    [
        {"role": "system", "content": ""},
        {"role": "user", "content": "a b c"},
        {"role": "assistant", "content": "x"},
    ],
]

SPECIALS = [("bos_token", "<s>"), ("eos_token", "</s>")]

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--templates", type=Path, help="render the *.jinja files of this folder instead")
parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "src" / "text" / "fixtures" / "chat_renderings.json")
arguments = parser.parse_args()
templates = list(TEMPLATES.values())
if arguments.templates:
    templates = [f.read_text() for f in sorted(arguments.templates.glob("*.jinja"))]

rows = []
for template in templates:
    for messages in CONVERSATIONS:
        for generation in (False, True):
            try:
                [text], _ = render_jinja_template(
                    [messages], chat_template=template, add_generation_prompt=generation, **dict(SPECIALS)
                )
            except Exception:
                text = None
            rows.append(
                {
                    "template": template,
                    "messages": messages,
                    "add_generation_prompt": generation,
                    "specials": SPECIALS,
                    "text": text,
                }
            )

arguments.out.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
print(len(rows), "renderings,", sum(r["text"] is None for r in rows), "raise")
