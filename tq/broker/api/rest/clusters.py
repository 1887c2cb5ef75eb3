"""Calls about the cluster: who is in it, taking nodes in and out, handing over the lead."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from tq import documents
from tq.broker.api.rest.answers import ClusterShown
from tq.broker.api.rest.bodies import Bodies
from tq.broker.api.rest.errors import json_response
from tq.broker.api.rest.gate import Gate
from tq.broker.api.rest.kinds import Name
from tq.broker.api.rest.openapi import described
from tq.broker.api.rest.parameters import NoQuery
from tq.broker.api.rest.schemas import NewNode, TransferBody
from tq.protocol.validate import check_request
from tq.verbs import AddNode, Cluster, GetCluster, RemoveNode, TransferLeadership

NodePath: TypeAlias = Annotated[Name, Path(description="The node's id.")]


def add_clusters(router: APIRouter, gate: Gate, bodies: Bodies) -> None:

    @router.get("/cluster", **described(GetCluster, answer=ClusterShown, text="The members"))
    async def cluster(request: Request, query: Annotated[NoQuery, Query()]) -> Response:
        """The brokers of the cluster: what each says of itself, and how far it lags."""
        return json_response(documents.of_cluster(await gate.ask(request, GetCluster(), Cluster)))

    @router.post("/cluster/nodes", **described(AddNode, answer=ClusterShown, body=NewNode))
    async def add_node(request: Request, query: Annotated[NoQuery, Query()]) -> Response:
        """Take a node in. It begins as an observer and votes as soon as it has caught up."""
        caller = await gate.permit(request, AddNode)
        body = await bodies.model(request, NewNode)
        verb = check_request(AddNode(body.node_id, body.address, body.votes))
        return json_response(documents.of_cluster(await gate.send(caller, verb, Cluster)))

    @router.delete("/cluster/nodes/{node_id}", **described(RemoveNode, answer=ClusterShown))
    async def remove_node(
        request: Request, node_id: NodePath, query: Annotated[NoQuery, Query()]
    ) -> Response:
        """Take a node out. A leader hands over first."""
        verb = check_request(RemoveNode(node_id))
        return json_response(documents.of_cluster(await gate.ask(request, verb, Cluster)))

    @router.post(
        "/cluster/transfer",
        **described(TransferLeadership, answer=ClusterShown, body=TransferBody, body_required=False),
    )
    async def transfer(request: Request, query: Annotated[NoQuery, Query()]) -> Response:
        """Let another voting node lead: the one that is named, or the one that is furthest on."""
        caller = await gate.permit(request, TransferLeadership)
        body = await bodies.model(request, TransferBody)
        verb = check_request(TransferLeadership(body.node_id))
        return json_response(documents.of_cluster(await gate.send(caller, verb, Cluster)))
